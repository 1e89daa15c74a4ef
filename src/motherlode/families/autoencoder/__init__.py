"""Autoencoders: an encoder squeezes samples into a few numbers or codes, a decoder makes samples of them again.

Plain, variational, and with codebooks (VQ, residual VQ, FSQ), in 1, 2 or 3 dimensions; what the reconstruction is
judged by (values, features, spectra, a critic) are options of the recipe's section `model` that combine.
"""

from __future__ import annotations

from motherlode.families.autoencoder.model import Autoencoder
from motherlode.families.autoencoder.options import Options

__all__ = ["FAMILY", "Autoencoder", "Options"]

FAMILY = Autoencoder
