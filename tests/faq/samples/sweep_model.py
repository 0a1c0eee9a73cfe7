# How do I best log models from runs in a sweep?
import artfs as wandb

wandb.Artifact(name="sweep_name", type="model")
