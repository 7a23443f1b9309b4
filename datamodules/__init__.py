"""Data: where they come from, how they are split, what leaves the loader."""

from datamodules.images import DigitsDataModule, FashionMNISTDataModule, MNISTDataModule
from datamodules.in_memory import DataError, InMemoryDataModule, InMemoryDataset
from datamodules.palindrome import PalindromeDataModule
from datamodules.toy import BlobsDataModule, CirclesDataModule, MoonsDataModule, XORDataModule

__all__ = [
    "BlobsDataModule",
    "CirclesDataModule",
    "DataError",
    "DigitsDataModule",
    "FashionMNISTDataModule",
    "InMemoryDataModule",
    "InMemoryDataset",
    "MNISTDataModule",
    "MoonsDataModule",
    "PalindromeDataModule",
    "XORDataModule",
]
