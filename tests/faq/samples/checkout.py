# How do I download an artifact outside of a run?
import artfs as wandb

api = wandb.Api()
artifact = api.artifact("project/artifact:alias")
artifact_dir = artifact.checkout()
