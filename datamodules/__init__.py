"""Data: where they come from, how they are split, what leaves the loader."""

from datamodules.augment import Cutout, HorizontalFlip, MixUp, PerSample, RandomCrop
from datamodules.cifar10 import CIFAR10DataModule
from datamodules.image_folder import ImageFolderDataModule
from datamodules.images import DigitsDataModule, FashionMNISTDataModule, MNISTDataModule
from datamodules.in_memory import DataError, InMemoryDataModule, InMemoryDataset
from datamodules.palindrome import PalindromeDataModule
from datamodules.toy import BlobsDataModule, CirclesDataModule, MoonsDataModule, XORDataModule

__all__ = [
    "BlobsDataModule",
    "CIFAR10DataModule",
    "CirclesDataModule",
    "Cutout",
    "DataError",
    "DigitsDataModule",
    "FashionMNISTDataModule",
    "HorizontalFlip",
    "ImageFolderDataModule",
    "InMemoryDataModule",
    "InMemoryDataset",
    "MNISTDataModule",
    "MixUp",
    "MoonsDataModule",
    "PalindromeDataModule",
    "PerSample",
    "RandomCrop",
    "XORDataModule",
]
