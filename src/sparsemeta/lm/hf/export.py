"""A model folder of ours as one of transformers: weights, configuration and tokenizer."""

from pathlib import Path

from sparsemeta.errors import ConfigError, require
from sparsemeta.files import write_folder
from sparsemeta.lm.checkpoint import find_model
from sparsemeta.lm.hf.modelling import SparseMetaForCausalLM
from sparsemeta.lm.hf.tokenizer import fast_tokenizer


def export(source: Path, folder: Path) -> None:
    """Write what `AutoModelForCausalLM` and `AutoTokenizer` read; a kill leaves no half of it.

    Args:
        source: a model folder, or a run folder: then its best checkpoint.
        folder: where to, new or empty.

    Raises:
        CheckpointError: there is no model, or it is damaged.
        ConfigError: something stands at `folder`, or it cannot be written.
    """
    source = find_model(source)
    require(
        not folder.exists() or (folder.is_dir() and not any(folder.iterdir())),
        f"{folder}: is there already. Name a new folder.",
    )
    model = SparseMetaForCausalLM.from_checkpoint(source)
    tokenizer = fast_tokenizer(source / "tokenizer.json", model.config.bos_token_id)
    try:
        with write_folder(folder) as aside:
            model.save_pretrained(aside)
            tokenizer.save_pretrained(aside)
    except OSError as error:
        raise ConfigError(
            f"{folder}: cannot be written ({error.strerror}). Choose another."
        ) from None
