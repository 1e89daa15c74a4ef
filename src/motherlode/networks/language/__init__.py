"""Language models: transformers' own classes, built from a size and put to work on windows of packed documents.

`attention` and `loss` serve every kind; `decoder` builds models that go from left to right, `modernbert` those that see
both sides. transformers is imported when a model is built: it takes seconds.
"""
