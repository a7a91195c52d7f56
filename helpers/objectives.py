"""The losses that several notebooks share; 03 and 07 build each by hand first."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional
from torch.utils.weak import WeakTensorKeyDictionary

from helpers.loop.arguments import check_positive

__all__ = ["contrastive_loss", "distillation_loss", "info_nce", "l2_sp", "mask_tokens"]

IGNORED = -100
"""The label that cross-entropy leaves out."""


def contrastive_loss(
    a: torch.Tensor, b: torch.Tensor, same: torch.Tensor, margin: float = 1.0
) -> torch.Tensor:
    """Contrastive (margin) loss on pairs, as published: both terms squared.

    mean(y d^2 + (1 - y) max(0, m - d)^2) with d the Euclidean distance; Hadsell, Chopra
    & LeCun 2006, without their factor 1/2. Taught in notebook 03.

    Args:
        a, b: (n, d) embeddings of the pairs' two sides.
        same: (n,) 1 or True where the two should be close, else 0.
        margin: distance beyond which unlike pairs no longer matter; positive.

    Raises:
        ValueError: shapes that do not fit, or a margin that is not positive.
    """
    if a.shape != b.shape or a.ndim != 2 or same.shape != a.shape[:1]:
        raise ValueError(
            f"a has shape {tuple(a.shape)}, b {tuple(b.shape)}, same "
            f"{tuple(same.shape)}: they must be (n, d), (n, d) and (n,)."
        )
    check_positive(1.0, margin=margin)
    distance = torch.linalg.vector_norm(a - b, dim=1)
    y = same.to(distance.dtype)
    apart = functional.relu(margin - distance)
    return (y * distance**2 + (1 - y) * apart**2).mean()


def info_nce(
    a: torch.Tensor, b: torch.Tensor, temperature: float | torch.Tensor = 0.1
) -> torch.Tensor:
    """Symmetric InfoNCE: row i of ``a`` belongs to row i of ``b`` and to no other.

    Cross-entropy over the cosine similarities of the batch divided by the temperature,
    averaged over both directions; van den Oord et al. 2018 in the form of CLIP (Radford
    et al. 2021). Taught in notebook 03; pairs of two towers in notebook 18.

    Args:
        a, b: (n, d) embeddings, n at least 2; they are normalised here.
        temperature: positive number, or a tensor that learns; checked where that does
            not wait for an accelerator.

    Raises:
        ValueError: shapes that do not fit, fewer than two rows, or temperature <= 0.
    """
    if a.shape != b.shape or a.ndim != 2 or len(a) < 2:
        raise ValueError(
            f"a has shape {tuple(a.shape)} and b {tuple(b.shape)}: both must be (n, d) "
            "with n of at least 2, since the other rows are the negatives."
        )
    value = torch.as_tensor(temperature).detach()
    if value.device.type == "cpu":
        check_positive(0.1, temperature=value.item())
    similarity = functional.normalize(a, dim=1) @ functional.normalize(b, dim=1).T
    scores = similarity / temperature
    own = torch.arange(len(a), device=a.device)
    forth = functional.cross_entropy(scores, own)
    return (forth + functional.cross_entropy(scores.T, own)) / 2


def mask_tokens(
    tokens: torch.Tensor,
    *,
    mask_id: int,
    vocab_size: int,
    special: torch.Tensor,
    share: float = 0.15,
    generator: torch.Generator | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Hide tokens for masked language modelling: (inputs, labels).

    Of the chosen share, 80 % become the mask, 10 % a random token and 10 % stay, as in
    BERT (Devlin et al. 2019, section 3.1). Taught in notebook 03.

    Args:
        tokens: (n, length) int64 token ids; not changed.
        special: (n, length) bool or 0 and 1, True where a token must not be chosen
            (padding, beginning and end of a sentence).
        share: probability of each other token to be chosen, in (0, 1].
        generator: of the choice; torch's global one by default.

    Returns:
        The corrupted tokens, and labels that hold the original where a token was chosen
        and -100, which cross-entropy leaves out, everywhere else.

    Raises:
        ValueError: shapes that differ, or a share outside (0, 1].
    """
    special = special.bool()  # tokenizers give their special_tokens_mask as 0 and 1
    if tokens.shape != special.shape:
        raise ValueError(
            f"tokens has shape {tuple(tokens.shape)} and special "
            f"{tuple(special.shape)}: they must be equal."
        )
    if not 0 < share <= 1:
        raise ValueError(f"share={share}: give a probability in (0, 1], e.g. 0.15.")

    def draw() -> torch.Tensor:
        return torch.rand(tokens.shape, generator=generator, device=tokens.device)

    chosen = (draw() < share) & ~special
    labels = torch.where(chosen, tokens, IGNORED)
    fate = draw()
    others = torch.randint(
        vocab_size, tokens.shape, generator=generator, device=tokens.device
    )
    inputs = torch.where(chosen & (fate < 0.8), mask_id, tokens)
    return torch.where(chosen & (fate >= 0.9), others, inputs), labels


# Copies of tensors on another device, each kept while the original lives.
_COPIES = WeakTensorKeyDictionary()


def _on_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """``tensor`` on ``device``, copied anew only when its values have changed."""
    if tensor.device == device:
        return tensor.detach()
    version, copy = _COPIES.get(tensor, (None, None))
    if copy is None or version != tensor._version or copy.device != device:
        copy = tensor.detach().to(device)
        _COPIES[tensor] = (tensor._version, copy)
    return copy


def l2_sp(model: nn.Module, start: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Squared distance of the trainable parameters from where they started.

    sum ||theta - theta_pre||^2, to be multiplied by lambda; Li, Grandvalet & Davoine
    2018 (L2-SP). Taught in notebook 07. Parameters that ``start`` lacks, such as a new
    head, are left out.

    Args:
        start: parameters by name, e.g. ``copy.deepcopy(model.state_dict())`` made
            before training; copied to the model's device at the first call only.

    Raises:
        ValueError: no trainable parameter is in ``start``, a shape differs, or
            ``start`` is no copy.
    """
    terms = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad or name not in start:
            continue
        if start[name].shape != parameter.shape:
            raise ValueError(
                f"{name} has shape {tuple(parameter.shape)} but "
                f"{tuple(start[name].shape)} in start: leave it out of start when it "
                "was replaced."
            )
        if parameter.numel() and start[name].data_ptr() == parameter.data_ptr() != 0:
            raise ValueError(
                f"start holds the model's own {name}, which trains along: make it with "
                "copy.deepcopy(model.state_dict()) before training."
            )
        before = _on_device(start[name], parameter.device)
        terms.append((parameter - before).square().sum())
    if not terms:
        raise ValueError(
            "start holds none of the model's trainable parameters: pass the state dict "
            "of this very model, copied before training."
        )
    return torch.stack(terms).sum()


def distillation_loss(
    student: torch.Tensor,
    teacher: torch.Tensor,
    y: torch.Tensor | None = None,
    *,
    temperature: float = 2.0,
    alpha: float = 0.5,
) -> torch.Tensor:
    """Knowledge distillation: alpha T^2 KL(teacher || student) + (1 - alpha) CE.

    Both distributions are softened by the temperature T; the factor T^2 keeps the
    gradients' size (Hinton, Vinyals & Dean 2015). Taught in notebook 07, used in 17.

    Args:
        student, teacher: (n, C) scores before softmax; no gradient flows into teacher.
        y: (n,) labels; may be None when alpha is 1.
        temperature: positive.
        alpha: weight of the teacher, in [0, 1].

    Raises:
        ValueError: shapes that do not fit, temperature or alpha out of range, no y.
    """
    if student.shape != teacher.shape or student.ndim != 2:
        raise ValueError(
            f"student has shape {tuple(student.shape)} and teacher "
            f"{tuple(teacher.shape)}: both must be (n, C) with the same classes in the "
            "same order; flatten (n, length, C) with .flatten(0, 1)."
        )
    check_positive(2.0, temperature=temperature)
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha={alpha}: give a weight in [0, 1].")
    if y is None and alpha < 1:
        raise ValueError(f"alpha={alpha} needs the labels y; without them use alpha=1.")
    soft = functional.kl_div(
        functional.log_softmax(student / temperature, dim=1),
        functional.log_softmax(teacher.detach() / temperature, dim=1),
        reduction="batchmean",
        log_target=True,
    )
    loss = alpha * temperature**2 * soft
    return (
        loss if y is None else loss + (1 - alpha) * functional.cross_entropy(student, y)
    )
