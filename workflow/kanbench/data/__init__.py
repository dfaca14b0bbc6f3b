"""Data sets on disk.

In comes the name of a data set and the folder of all of them. Out go arrays whose checksums were compared with the
published ones (`datasets`), whose files were looked into (`idx`), or pictures in folders of classes, marked as not
canonical (`pictures`); `augment` changes batches of images in training. `presence` tells cheaply whether a set seems to
be there, and `torchvision_compat` imports torchvision beside a torch without CUDA.

Imports `base`.
"""
