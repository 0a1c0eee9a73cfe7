# How do I log an artifact without launching a run?
artfs artifact put -n project/artifact -t dataset mnist/
