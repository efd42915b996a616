"""What a training run is: one frozen model, and the presets of the papers and of this project."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from enhancement.network.manifest import Bound

#: z-scores that a T1-weighted volume can take, from air in a sloppy mask to a vessel at four times the dose.
WIDE = (-3.0, 12.0)
#: Names of the targets of `simulated.focal_target`: all that enhances, and what is diseased only.
FOCAL, DISEASE = "t1c_focal", "t1c_disease"
#: Dose of each T1c in multiples of the full one: those of a patient, and what the simulator makes of them.
DOSES = {
    "t1c_low": 0.25, "t1c": 1.0, "t1c_1": 1.0, "t1c_2": 2.0, "t1c_4": 4.0, "t1c_8": 8.0, FOCAL: 4.0, DISEASE: 4.0
}  # fmt: skip
#: Those that exist in simulation only.
SIMULATED = frozenset(DOSES) - {"t1c_low", "t1c"}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Channel(_Part):
    """One input: the role it plays, and its limits; limits of None are the patients' percentiles."""

    role: str
    limits: tuple[float, float] | None = None
    required: bool = True
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


class Doses(_Part):
    """Which volumes are input and target.

    `input_volume` fills the T1C slot. `target_volume` is what the network learns to show. `normalise_target_by` says
    whose brain mean and SD make the target dimensionless: "own" (the papers: apply the network to a higher dose and it
    extrapolates) or "input" (direct: the target is the input as it would look at k times the dose). `keep_brain_level`
    divides the target by the factor by which its calm brain is brighter than the input's. More agent lifts the whole
    brain by 5 to 20 %, by an amount that the images don't tell: as a target this offset, one number a patient,
    drowns all else that the network could learn.
    """

    input_volume: str = "t1c"
    target_volume: str = "t1c_4"
    normalise_target_by: Literal["own", "input"] = "input"
    dose_factor: Annotated[float, Field(gt=0)] = 4.0
    keep_brain_level: bool = False


class LossWeights(_Part):
    """Weight of each term; a term of weight zero is not computed.

    `lesion` is an L1 over known lesions and their rims, each lesion weighted by size; `difference` is Chen's: L1 where
    target and T1 differ by more than `difference_threshold` (Chen et al. 2022, l3). `false_enhancement` is what a blob
    outside the lesions is above the target by more than `false_enhancement_threshold`, in units of the output.
    """

    l1: float = 0.0
    mse: float = 0.0
    ssim: float = 0.0
    gradient: float = 0.0
    lesion: float = 0.0
    difference: float = 0.0
    difference_threshold: float = 0.1
    false_enhancement: float = 0.0
    false_enhancement_threshold: float = 0.02
    dice: float = 0.0
    cross_entropy: float = 0.0


class Augmentation(_Part):
    """What is changed at random each time a volume is seen; zero switches a term off."""

    mirror_axes: tuple[Literal[0, 1, 2], ...] = (0, 1, 2)
    bias_field: float = Field(default=0.0, description="SD of the logarithm of each series' own field")
    noise: tuple[float, float] = Field(default=(0.0, 0.0), description="range of the SD, fraction of the brain mean")
    shift_mm: float = Field(default=0.0, description="largest shift of T1, FLAIR and ADC against T1C, per axis")
    gamma: float = Field(default=0.0, description="SD of the logarithm of an exponent applied to T1 and FLAIR")
    mean_jitter: float = Field(default=0.0, description="SD of the error of the brain mean, in brain SDs")
    sd_jitter: float = Field(default=0.0, description="SD of the logarithm of the error of the brain SD")
    imperfect_mask: float = Field(
        default=0.0, description="probability of the imperfect brain mask, where there is one"
    )
    contrast: bool = Field(default=False, description="random exponent, beside field and noise (brain extractor)")


class Recipe(_Part):
    """Everything that decides the numbers of a run, besides the data."""

    name: str
    task: Literal["enhance", "extract"] = "enhance"
    channels: Annotated[int, Field(ge=2, le=64)] = 16
    levels: Annotated[int, Field(ge=1, le=6)] = 5
    convolutions: Annotated[int, Field(ge=1, le=4)] = 2
    head: Literal["sigmoid", "residual", "gain", "logit"] = "sigmoid"
    inputs: tuple[Channel, ...]
    output_limits: tuple[float, float] = WIDE
    doses: Doses = Doses()
    bound: Bound | None = Field(default=None, description="of what is shown; goes into the manifest, trains nothing")
    loss: LossWeights = LossWeights(mse=1.0)
    augmentation: Augmentation = Augmentation()
    patch: int | None = Field(default=None, description="edge in voxels; None: whole volumes")
    lesion_patches: Annotated[float, Field(ge=0, le=1)] = 0.5
    batch: Annotated[int, Field(ge=1)] = 1
    steps: Annotated[int, Field(ge=1)] = 300 * 86
    learning_rate: float = 1e-3
    warm_up: Annotated[int, Field(ge=0)] = 0
    decay: Literal["none", "cosine"] = "none"
    gradient_clip: float | None = None
    average: Annotated[float, Field(ge=0, lt=1)] = Field(default=0.0, description="EMA decay; 0: off")
    precision: Literal["bfloat16", "float32"] = "bfloat16"
    folds: Annotated[int, Field(ge=1, le=5)] = 5
    fold: Annotated[int, Field(ge=0, le=4)] = 0
    fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    head_contrasts: tuple[Literal["random", "t1", "t1c", "flair", "t2", "b0"], ...] | None = Field(
        default=None, min_length=1, description="of heads made on the fly, in turn; None: as the simulator draws them"
    )
    anatomies: str = Field(
        default="", description="folder of real heads' label maps for what is made on the fly; empty: the ICBM average"
    )
    seed: int = 0

    def only_inputs(self, roles: tuple[str, ...]) -> Recipe:
        """Keep a subset of the inputs (the ablations of ISBI 2021); the order stays the recipe's."""
        kept = tuple(channel for channel in self.inputs if channel.role in roles)
        if len(kept) != len(set(roles)):
            known = ", ".join(channel.role for channel in self.inputs)
            raise ValueError(f"inputs must be among {known}, found {', '.join(roles)}")
        if "T1C" not in roles and "T1C" in [channel.role for channel in self.inputs]:
            raise ValueError(f"inputs must hold T1C, which is what the network enhances, found {', '.join(roles)}")
        bound = self.bound if "T1" in roles else None
        return self.model_copy(update={"inputs": kept, "bound": bound})


BONE_2022 = Recipe(
    name="bone-2022",
    inputs=(
        Channel(role="T1"),
        Channel(role="FLAIR"),
        Channel(role="ADC"),
        Channel(role="T1C", limits=WIDE),
    ),
    doses=Doses(input_volume="t1c_low", target_volume="t1c", normalise_target_by="own", dose_factor=4.0),
    loss=LossWeights(mse=1.0),
    lesion_patches=0.0,
    gradient_clip=1.0,
)

T1C_PRO = Recipe(
    name="t1c-pro",
    channels=8,
    head="gain",
    inputs=(
        # T1 on the T1C's scale: what is bright before contrast must not be clipped, or it looks enhanced after it.
        Channel(role="T1", limits=WIDE),
        Channel(role="FLAIR", limits=(-3.0, 6.0), required=False, dropout=0.25),
        Channel(role="ADC", limits=(-3.0, 6.0), required=False, dropout=0.25),
        Channel(role="T1C", limits=WIDE),
    ),
    doses=Doses(target_volume=DISEASE),
    # Chosen on 24 simulated development patients with 52 lesions: in the T1c a reader finds 24, with 23 false marks.
    # All of what is `plain` adds 12 lesions and 17 false marks, 0.8 of it 12 and 12, 0.6 of it 11 and 6.
    bound=Bound(gain=3.0, noise_sds=2.0, voxel_noise_sds=1.0, faint=0.1, plain=0.3, bright=0.7, plain_part=0.75),
    loss=LossWeights(l1=1.0, mse=20.0, gradient=0.5, lesion=0.2),
    augmentation=Augmentation(
        bias_field=0.08,
        noise=(0.0, 0.03),
        shift_mm=0.6,
        gamma=0.08,
        mean_jitter=0.06,
        sd_jitter=0.06,
        imperfect_mask=0.6,
    ),
    patch=64,
    batch=3,
    steps=6000,
    warm_up=100,
    decay="cosine",
    gradient_clip=1.0,
    average=0.998,
)

BRAIN = Recipe(
    name="brain",
    task="extract",
    channels=8,
    head="logit",
    inputs=(Channel(role="HEAD", limits=(0.0, 1.0)),),
    output_limits=(0.0, 1.0),
    doses=Doses(input_volume="head", target_volume="brain", normalise_target_by="own", dose_factor=1.0),
    loss=LossWeights(dice=1.0, cross_entropy=1.0),
    augmentation=Augmentation(mirror_axes=(2,), bias_field=0.2, noise=(0.0, 0.08), contrast=True),
    patch=64,
    batch=4,
    lesion_patches=0.0,
    steps=1500,
    warm_up=50,
    decay="cosine",
    gradient_clip=1.0,
    average=0.995,
    folds=1,
)

PRESETS = {recipe.name: recipe for recipe in (BONE_2022, T1C_PRO, BRAIN)}
