# How do I download an artifact outside of a run?
artfs artifact get project/artifact:alias --root mnist/
