from .corpus import (
    Document as Document,
    read_documents as read_documents,
    split_articles as split_articles,
    split_holdout as split_holdout,
)
from .streams import Episodes as Episodes, Streams as Streams
from .tokenised import Tokenised as Tokenised, tokenise as tokenise
from .tokenizer import (
    EOS as EOS,
    UNK as UNK,
    BPETokenizer as BPETokenizer,
    ByteTokenizer as ByteTokenizer,
    Tokenizer as Tokenizer,
    WordTokenizer as WordTokenizer,
    load_tokenizer as load_tokenizer,
    train_tokenizer as train_tokenizer,
)
