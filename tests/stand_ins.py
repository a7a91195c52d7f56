"""Stand-ins for what "Go bigger" cells download: real architectures, random weights.

They lie in a cache of their own under the official names, so the cells run as they are,
without a network. They prove that the code runs; what it prints means nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
WHISPER = "openai/whisper-tiny.en"
COMMIT = "0" * 40
SENTENCES = ["a good film , and a long one", "translate English to German: the house"]
SEQUENCES = {
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
}
SMALL = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}


def _bert(folder: Path) -> None:
    from transformers import BertConfig, BertForMaskedLM

    _word_pieces(folder)
    BertForMaskedLM(BertConfig(num_hidden_layers=1, **SMALL)).save_pretrained(folder)


def _sentiment(folder: Path) -> None:
    from transformers import DistilBertConfig, DistilBertForSequenceClassification

    _word_pieces(folder)
    config = DistilBertConfig(
        dim=32,
        hidden_dim=64,
        n_layers=1,
        n_heads=2,
        id2label={0: "NEGATIVE", 1: "POSITIVE"},
    )
    DistilBertForSequenceClassification(config).save_pretrained(folder)


def _word_pieces(folder: Path) -> None:
    """MiniLM's vocabulary is that of BERT, uncased."""
    from transformers import AutoTokenizer

    AutoTokenizer.from_pretrained(MINILM).save_pretrained(folder)


def _gpt2(folder: Path) -> None:
    from tokenizers import ByteLevelBPETokenizer
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    pieces = ByteLevelBPETokenizer()
    pieces.train_from_iterator(SENTENCES, 300, special_tokens=["<|endoftext|>"])
    end = {name: "<|endoftext|>" for name in ("bos_token", "eos_token", "unk_token")}
    PreTrainedTokenizerFast(tokenizer_object=pieces._tokenizer, **end).save_pretrained(
        folder
    )
    config = GPT2Config(
        vocab_size=pieces.get_vocab_size(),
        n_embd=32,
        n_layer=1,
        n_head=2,
        bos_token_id=0,
        eos_token_id=0,
    )
    GPT2LMHeadModel(config).save_pretrained(folder)


def _t5(folder: Path) -> None:
    from tokenizers import SentencePieceUnigramTokenizer
    from transformers import PreTrainedTokenizerFast, T5Config
    from transformers import T5ForConditionalGeneration as T5

    pieces = SentencePieceUnigramTokenizer()
    special = ["<pad>", "</s>", "<unk>"]
    pieces.train_from_iterator(SENTENCES, 60, special_tokens=special, unk_token="<unk>")
    PreTrainedTokenizerFast(
        tokenizer_object=pieces._tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
    ).save_pretrained(folder)
    config = T5Config(
        vocab_size=pieces.get_vocab_size(),
        d_model=32,
        d_kv=16,
        d_ff=64,
        num_layers=1,
        num_heads=2,
        decoder_start_token_id=0,
    )
    T5(config).save_pretrained(folder)


def _marian(folder: Path) -> None:
    """opus-mt's tokenizer reads two SentencePiece models and a common vocabulary."""
    import sentencepiece
    from transformers import MarianConfig, MarianMTModel, MarianTokenizer

    for side in ("source", "target"):
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(SENTENCES),
            model_prefix=str(folder / side),
            vocab_size=40,
            hard_vocab_limit=False,
            minloglevel=2,
        )
        (folder / f"{side}.model").rename(folder / f"{side}.spm")
        (folder / f"{side}.vocab").unlink()
    pieces = sentencepiece.SentencePieceProcessor(str(folder / "source.spm"))
    names = [pieces.id_to_piece(number) for number in range(pieces.get_piece_size())]
    words = ["</s>", "<unk>", *(n for n in names if not n.startswith("<")), "<pad>"]
    vocabulary = folder / "vocab.json"
    vocabulary.write_text(json.dumps({word: i for i, word in enumerate(words)}))
    MarianTokenizer(
        str(folder / "source.spm"), str(folder / "target.spm"), str(vocabulary)
    ).save_pretrained(folder)
    last = len(words) - 1
    config = MarianConfig(
        vocab_size=len(words),
        pad_token_id=last,
        decoder_start_token_id=last,
        eos_token_id=0,
        forced_eos_token_id=0,
        **SEQUENCES,
    )
    MarianMTModel(config).save_pretrained(folder)


def _bart(folder: Path) -> None:
    from tokenizers import ByteLevelBPETokenizer
    from transformers import (
        BartConfig,
        BartForConditionalGeneration,
        PreTrainedTokenizerFast,
    )

    pieces = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    pieces.train_from_iterator(SENTENCES, 300, special_tokens=special)
    PreTrainedTokenizerFast(
        tokenizer_object=pieces._tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        model_max_length=1024,
    ).save_pretrained(folder)
    config = BartConfig(vocab_size=pieces.get_vocab_size(), **SEQUENCES)
    BartForConditionalGeneration(config).save_pretrained(folder)


def _wav2vec2(folder: Path) -> None:
    from transformers import (
        Wav2Vec2Config,
        Wav2Vec2CTCTokenizer,
        Wav2Vec2FeatureExtractor,
        Wav2Vec2ForCTC,
        Wav2Vec2Processor,
    )

    letters = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ETAONIHSRDLUMWCFGYPBVKXJQZ'"]
    vocabulary = folder / "vocab.json"
    vocabulary.write_text(json.dumps({c: i for i, c in enumerate(letters)}))
    tokenizer = Wav2Vec2CTCTokenizer(str(vocabulary))
    extractor = Wav2Vec2FeatureExtractor()
    Wav2Vec2Processor(extractor, tokenizer).save_pretrained(folder)
    config = Wav2Vec2Config(
        vocab_size=len(letters),
        num_hidden_layers=1,
        conv_dim=(16,) * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
        **SMALL,
    )
    Wav2Vec2ForCTC(config).save_pretrained(folder)


def _whisper(folder: Path) -> None:
    """Tokenizer and settings are those of tiny.en, which the course has."""
    from transformers import (
        GenerationConfig,
        WhisperConfig,
        WhisperForConditionalGeneration,
        WhisperProcessor,
    )

    WhisperProcessor.from_pretrained(WHISPER).save_pretrained(folder)
    config = WhisperConfig.from_pretrained(WHISPER)
    config.update({"d_model": 32, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64})
    config.update({"encoder_attention_heads": 2, "decoder_attention_heads": 2})
    model = WhisperForConditionalGeneration(config)
    model.generation_config = GenerationConfig.from_pretrained(WHISPER)
    # The heads that align words are listed; here each layer has only two.
    model.generation_config.alignment_heads = [[2, 0], [3, 1]]
    model.save_pretrained(folder)


def _clip(folder: Path) -> None:
    """CLIP's tokenizer is byte-level BPE with an end-of-word mark."""
    from tokenizers import CharBPETokenizer
    from transformers import (
        CLIPConfig,
        CLIPImageProcessor,
        CLIPModel,
        CLIPProcessor,
        CLIPTokenizer,
    )

    pieces = CharBPETokenizer(lowercase=True, suffix="</w>")
    special = ["<|startoftext|>", "<|endoftext|>"]
    pieces.train_from_iterator(SENTENCES, 300, special_tokens=special)
    pieces.save_model(str(folder))
    tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    tokenizer.model_max_length = 77
    images = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32)
    CLIPProcessor(images, tokenizer).save_pretrained(folder)
    text = {"vocab_size": 320, "num_hidden_layers": 1, **SMALL}
    vision = {"image_size": 32, "patch_size": 16, "num_hidden_layers": 1, **SMALL}
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)
    CLIPModel(config).save_pretrained(folder)


HUB: dict[str, Callable[[Path], None]] = {
    "google-bert/bert-base-uncased": _bert,
    "bert-base-uncased": _bert,
    "BAAI/bge-base-en-v1.5": _bert,
    "distilbert/distilbert-base-uncased-finetuned-sst-2-english": _sentiment,
    "openai-community/gpt2": _gpt2,
    "gpt2": _gpt2,
    "google-t5/t5-small": _t5,
    "t5-small": _t5,
    "Helsinki-NLP/opus-mt-en-zh": _marian,
    "facebook/bart-large-cnn": _bart,
    "facebook/wav2vec2-base-960h": _wav2vec2,
    "openai/whisper-small.en": _whisper,
    "openai/clip-vit-base-patch32": _clip,
}
# `pipeline("sentiment-analysis")` names its default by a short revision.
REVISIONS = ("main", "714eb0f")


def fill(cache: Path) -> None:
    """Put the stand-ins beside the course's own assets in `cache`."""
    for name, build in HUB.items():
        place = cache / "huggingface" / "hub" / f"models--{name.replace('/', '--')}"
        snapshot = place / "snapshots" / COMMIT
        snapshot.mkdir(parents=True)
        torch.manual_seed(0)
        build(snapshot)
        (place / "refs").mkdir()
        for revision in REVISIONS:
            (place / "refs" / revision).write_text(COMMIT)
    _resnet50(cache / "torch" / "hub" / "checkpoints")
    _faster_rcnn(cache / "torch" / "hub" / "checkpoints")


def _resnet50(folder: Path) -> None:
    from torchvision.models import ResNet50_Weights, resnet50

    state = resnet50().state_dict()
    for weights in ResNet50_Weights:
        torch.save(state, folder / weights.url.rsplit("/", 1)[1])


def _faster_rcnn(folder: Path) -> None:
    from torchvision.models.detection import (
        FasterRCNN_ResNet50_FPN_Weights,
        fasterrcnn_resnet50_fpn,
    )

    weights = FasterRCNN_ResNet50_FPN_Weights.COCO_V1
    model = fasterrcnn_resnet50_fpn(weights_backbone=None, num_classes=91)
    torch.save(model.state_dict(), folder / weights.url.rsplit("/", 1)[1])


def shrink() -> None:
    """Make data and training small, before a notebook's code runs.

    Pictures of 32 pixels a side instead of 224, one epoch, a CIFAR-10 of random
    pictures, a block in each of ResNet-50's four layers: enough to see that a cell
    runs, and quick.
    """
    import torchvision.datasets
    import torchvision.models.resnet as residual
    from torchvision.transforms._presets import ImageClassification

    import helpers
    from helpers import training

    original = ImageClassification.__init__

    def small(
        self: Any, *, crop_size: int, resize_size: int = 256, **rest: Any
    ) -> None:
        original(self, crop_size=32, resize_size=32, **rest)

    ImageClassification.__init__ = small  # type: ignore[method-assign]
    for name in ("__init__", "__len__", "__getitem__"):
        setattr(torchvision.datasets.CIFAR10, name, getattr(RandomPictures, name))
    make = residual._resnet

    def shallow(block: Any, layers: Any, *given: Any, **options: Any) -> Any:
        return make(block, [1, 1, 1, 1], *given, **options)

    residual._resnet = shallow
    fit = training.fit

    def one_epoch(*given: Any, **options: Any) -> Any:
        return fit(*given, **{**options, "epochs": 1})

    helpers.fit = training.fit = one_epoch


class RandomPictures(torch.utils.data.Dataset):
    """Stands in for torchvision's CIFAR10: random pictures at every index."""

    def __init__(
        self,
        root: Any,
        train: bool = True,
        transform: Any = None,
        target_transform: Any = None,
        download: bool = False,
    ) -> None:
        self.transform = transform
        self.classes = [f"class {number}" for number in range(10)]
        self.targets = [index % 10 for index in range(len(self))]

    def __len__(self) -> int:
        return 200

    def __getitem__(self, index: int) -> tuple[Any, int]:
        from PIL import Image

        generator = torch.Generator().manual_seed(index)
        size = (32, 32, 3)
        values = torch.randint(256, size, generator=generator, dtype=torch.uint8)
        picture = Image.fromarray(values.numpy())
        return self.transform(picture) if self.transform else picture, index % 10
