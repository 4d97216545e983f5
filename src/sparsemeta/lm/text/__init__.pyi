from .corpus import (
    read_documents as read_documents,
    split_articles as split_articles,
    split_holdout as split_holdout,
)
from .sources import Document as Document
from .streams import Streams as Streams
from .tokenised import tokenise as tokenise
from .tokenizer import (
    BPETokenizer as BPETokenizer,
    ByteTokenizer as ByteTokenizer,
    Tokenizer as Tokenizer,
    WordTokenizer as WordTokenizer,
    load_tokenizer as load_tokenizer,
    train_tokenizer as train_tokenizer,
)
