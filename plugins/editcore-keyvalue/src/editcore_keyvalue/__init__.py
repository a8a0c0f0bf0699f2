"""Shared code of the locate-then-edit family. MLP layers as linear memories: key k (f,), value v = W k + b (d,).

Notation throughout: d residual width, f width of the MLP hidden vector (input of the down projection W (d, f)),
s the position of the subject's last token, C = E[k kᵀ] (f, f) the uncentred second moment of keys over a corpus.
"""
