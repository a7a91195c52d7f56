"""What the forks for "Go bigger" cells find imported, in the order that matters."""

# isort: off
# ruff: noqa: F401
import tests.online_first
import tests.stand_ins
import matplotlib.pyplot
import pandas
import sklearn.linear_model
import torch._dynamo
import torch.distributed.tensor
import torchvision
import transformers.models.auto
import transformers.models.bert.modeling_bert
import transformers.pipelines
