from .packing import Packed as Packed, compress as compress, decompress as decompress
