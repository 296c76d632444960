"""The digest that names a variant's code in its runs: an edit of the code gives its runs another name."""

import hashlib

from archbench.architectures.catalogue import sources
from archbench.architectures.families.variant import Variant

# Digests of the files that ablations once had, or any text of that form; with them, their runs keep their names. If the
# model of an ablation changes (tests/test_built_in_models.py then fails), replace its digest by any other text, also in
# tests/ablation_digests.toml.
KEPT = {
    "decoder-alibi": "1d116a579cded6a61e4007511de1a497572130f24931ba6bbc4c303d2ef44858",
    "decoder-average": "4fbd1db52ca057810648d36edbcb88b227ed75b3041ae3492153957adebcb35c",
    "decoder-canon": "e352ff3e5248412ce0a964f97bd6e2e24d6976c3b932098ae0941072beb864c6",
    "decoder-eight-heads": "e0fa092e93e9561649edf303859f40f4114245d1617adfb65e0ab9aa4ef4d573",
    "decoder-experts": "71fb95657dbf9582097573a5a21fbb6a3f4e60484d7bee56abf644caa50ebcc7",
    "decoder-four-heads": "e9b917e42e17224bf1c67ee3c1be2c8e27b0e1628811622df72178cdf9a438e6",
    "decoder-gated-attention": "0319a66f13d250712aaef26ab73eeb588c4cc2ec2db614c2aab86c90a1b00394",
    "decoder-gelu": "4f9fd285c8c1fc6c2b89517c335531a36cadc167a852f441dfea9950ebc1336c",
    "decoder-hybrid": "c418de09ac80f5c5b1f7d613025c4b8bb76dc783e5286aab79b905b01c17b842",
    "decoder-learned-positions": "70f80ceca572b3bc0a292b78ff119e82ac8a42d326443b956400edcfb50823f1",
    "decoder-linear": "2794b331649a63cc8e5c7b5f49af984b9f95d04623fe03da031f80faf8650fbf",
    "decoder-local": "1743ed9509c3139578410af47373d483db313286e0539d937dd87e1da868d2cb",
    "decoder-no-feedforward": "a45ddb70609121b4db048d6ed58d3fe6b38f47e313e1f9f81814468bf52fbf18",
    "decoder-no-mask": "6120bf7acc47f4187cd67a5997ece965a0dac4476ee97592d9a41c66d05c370f",
    "decoder-no-norm": "69176e5c801ee71033334f0e7c3e486045e32fb49a3b86ad122ccc15e78c909c",
    "decoder-no-positions": "f403006ce90145805b846e9f92b36c01bbf9b89daab9a6f15e6f1d78c7cefec3",
    "decoder-no-residual": "7ca13f0b28954674cb65a740e1a60fc3be59d47730c1715d05060e2a74457705",
    "decoder-one-head": "dcdd679e09a9b8c6221b559eb80a826ccf06a05e32e8ee32a4b027d702cfbc1e",
    "decoder-post-norm": "250963ef7fe74e63423f14b531b917c28f975c7dddcc4b30881b9c7862b1e1d5",
    "decoder-qk-norm": "e1d19f4f12415a5f437f92bb597fc3535d49913a72ff2dbda07a62890f759d01",
    "decoder-relative-bias": "4d9c70c7f61a2889c5a1ab8769bcc7c9a606fbc141f641548cb1c7e3d3fa6b34",
    "decoder-relu": "e161c1ebe0e3f02cdf157cf1d71d2361350759f87964a681837901fbdfbcb817",
    "decoder-relu-squared": "43d7183e9c5f3ea6e96a8e53fbf9063226fd68cd017b413611b997f3e9bd2303",
    "decoder-rms-norm": "88729d6ea7ea56b20a3837a7e309bfdafb52da1536c02d82dfa19db95d3c022a",
    "decoder-sinusoidal": "bfed431ade2d78ce3bfe602ee1a50fa808e3677e1fcfcd971bde13348bb7cd36",
    "decoder-tied": "60de0b941941d1315583debd453e315ed5b1b38d0a8d0b4c9b8b49f0802a4498",
    "encoder-alibi": "40ac43c037e2c4e2118ae5b1c53990a7e14013d9de2cf16f7204688d19a60115",
    "encoder-decoder-alibi": "e72c249d09a74ddfed8daed242f72a3a12884d8f804d43508aaab0385253a223",
    "encoder-decoder-canon": "0fe8e00457d40bf33c0e9f58b3a1805ee0671d00136d620c7c215b33093b84a2",
    "encoder-decoder-experts": "4ec52fa1e2df39a9b423ffe2c037669b3fae30d48dcc824c3eaeba1750d3096d",
    "encoder-decoder-gated-attention": "b7720865ea44fbfc50f282e0dbf444214513ee858ecef0f53c5e5b35ff86646c",
    "encoder-decoder-learned-positions": "1f50c34862a363bc8af2d4e29e0ab9c543e726d5fc71f1cabf2c066eeb96c013",
    "encoder-decoder-local": "8e54df339241c0274799be56a7296049d075bf5cd1fdd922f13caad3668bfea3",
    "encoder-decoder-no-positions": "83f3b9e661e21c5870346a3c33e239122fb252c7c33a88931f2780ae20dc5e15",
    "encoder-decoder-qk-norm": "cd6748abb9c7938794f96523098b2c1f87cb3e08562e8ec38ee2244d42d4861f",
    "encoder-decoder-relative-bias": "26b056902e9ede2d1ae3dc3e0da21b236ee2c533bc03180e428dbcdf7082c973",
    "encoder-decoder-relu-squared": "a2fefa1798a01060e56d78bf366638c99163d2763c5e0b64e63d2a3486a6f490",
    "encoder-decoder-sinusoidal": "70be8e378c9ceb631c3dbe8e2d3f2c0065b70d02f1e090aebe2828bfec339961",
    "encoder-decoder-tied": "bf2012df966897884d9ba8d28d4614547b7710c2dcc8f51178e4313fedc28cec",
    "encoder-learned-positions": "9112c98fc09240702f90c9485e1f15a339f6a7a63336c83e4bcbe0323e13dcf2",
    "encoder-no-positions": "5b4c2c68e89ef69ca226c436a1f8c3673c2e946e294404362fd70f159ea75771",
    "encoder-relative-bias": "d1899d14a4314769dadec632c787b667778227821ad1ab64181838785df85af0",
    "encoder-sinusoidal": "87d27d959854170347f45a4540a32d7ecc2e200851cd266983a926f49c0c7f5d",
    "encoder-tied": "7fb74b5de64342c675f6837a1c478aafe15e47a8cec23057ffa43f439c3e1276",
}


def of(variant: Variant) -> str:
    """The digest that is kept for a built-in variant, else that of its text."""
    kept = KEPT.get(variant.name) if variant.is_builtin else None
    return kept or of_text(variant.text)


def of_text(text: str) -> str:
    """SHA-256 of the code in a text, docstrings and comments aside."""
    return hashlib.sha256(sources.code(text).encode()).hexdigest()
