from .config import ServeConfig as ServeConfig
from .running import Address as Address, Served as Served, build as build, serve as serve
