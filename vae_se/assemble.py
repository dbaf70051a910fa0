"""Builds objects from names and configuration; the only module that knows every registry."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, TypeVar

from .config import METHODS as METHODS
from .config import Config, EStepConfig, NoiseConfig
from .device import factor_type
from .errors import UsageError
from .inference.calibration import UNCALIBRATED, Calibration
from .inference.estep import ESTEPS, EStep
from .inference.gain import Gain
from .inference.monte_carlo_em import MonteCarloEM
from .inference.noisy_proposal import NoisyEncoderNetwork
from .noise import NOISES
from .noise.dictionary import Dictionary
from .noisy_encoder.convolutional import ConvolutionalNoisyEncoder
from .noisy_encoder.store import CAUSAL_FOLDER, belongs, folder_beside, load_noisy_encoder
from .priors.base import SpeechPrior
from .priors.store import load_prior, locate

T = TypeVar("T")

#: Iterations of EM, and E-steps to average over, without a noisy encoder.
_ENOUGH = (10, 4)


def build_em(config: Config, prior: SpeechPrior) -> MonteCarloEM:
    """The EM loop that ``config`` describes, for a loaded prior.

    Raises UsageError for an unknown name, for a setting that the named part does not have, and for an E-step
    that does not fit the prior; NoiseError for a noise dictionary that cannot be read or was made for another
    STFT; PriorError for a noisy encoder that cannot be used.
    """
    noise = _part("noise", NOISES[config.noise.name], config.noise)
    noise = dataclasses.replace(noise, signal=prior.signal)
    if isinstance(noise, Dictionary) and noise.known is not None:
        noise.known.check(prior.signal, noise.file)
    estep = _part("estep", ESTEPS[config.estep.name], config.estep)
    _check_fit(config.estep.name, estep, prior)
    network, latents_of = _noisy_encoder(config, prior)
    if isinstance(network, ConvolutionalNoisyEncoder):
        network.multiply_in(factor_type(config.inference.precision, next(prior.parameters()).device))
    enough, given = _ENOUGH if network is None else estep.enough, config.inference
    return MonteCarloEM(
        prior=prior,
        noise=noise,
        estep=estep,
        gain=Gain(config.gain.kind, config.gain.concentration),
        iterations=enough[0] if given.iterations is None else given.iterations,
        averaging=enough[1] if given.averaging is None else given.averaging,
        encoder_floor=config.inference.encoder_floor,
        pause_db=config.inference.pause_db,
        noisy_encoder=network,
        encoder_prior=latents_of,
        starts=config.inference.starts,
        asks=config.inference.asks,
        context_weight=config.inference.context_weight,
        deviation_weight=config.inference.deviation_weight,
        encoder_weight=config.inference.encoder_weight,
        learnt_weight=config.inference.learnt_weight,
        calibration=Calibration.fitted() if config.inference.calibrate else UNCALIBRATED,
    )


def _check_fit(name: str, estep: EStep[Any], prior: SpeechPrior) -> None:
    """Raise UsageError for an E-step that treats frames in a way that the prior does not allow."""

    def fits(kernel: type[EStep[Any]]) -> bool:
        return kernel.trajectories and (prior.frame_decoder or not kernel.by_frame)

    if prior.factorised or fits(type(estep)):
        return
    fitting = [other for other in ESTEPS if fits(ESTEPS[other])]
    raise UsageError(
        f"the E-step {name} treats frames as independent, and the prior ties them together",
        "give --estep " + ", ".join(fitting),
    )


def _noisy_encoder(config: Config, prior: Any) -> tuple[NoisyEncoderNetwork | None, SpeechPrior | None]:
    """The noisy encoder that the configuration selects, on the prior's device, or None; and the prior that it
    was trained for, where that is another one."""
    chosen = config.inference.noisy_encoder
    if chosen is None:
        return None, None
    device = next(prior.parameters()).device
    folders = [Path(chosen)] if chosen not in ("auto", "causal") else _folders(config.prior, chosen == "causal")
    for folder in folders:
        # A caller may bring a prior of its own, whatever the configuration calls it.
        if belongs(folder, prior):
            return load_noisy_encoder(folder, prior, device), None
    default = load_prior(Config().prior, device)
    for folder in folders:
        if belongs(folder, default) and default.signal == prior.signal:
            return load_noisy_encoder(folder, default, device), default
    if chosen in ("auto", "causal"):
        return None, None
    return load_noisy_encoder(Path(chosen), prior, device), None  # raises the error that says what is wrong


def _folders(prior: str, causal: bool) -> list[Path]:
    """Where a noisy encoder for ``prior`` may be: beside it, or beside the default prior, whose network serves
    other priors as well; causal ones first if ``causal``."""
    places = list(dict.fromkeys([locate(prior), locate(Config().prior)]))
    folders = [folder_beside(place) for place in places]
    return [place / CAUSAL_FOLDER for place in places] + folders if causal else folders


def own_defaults(config: Config) -> dict[str, Any]:
    """The defaults that the chosen kernel and noise model give to settings that are None, by dotted key.

    A key is missing where the kernel or model has no such setting. Raises UsageError for an unknown name.
    """
    found = {}
    for section, registry in (("estep", ESTEPS), ("noise", NOISES)):
        chosen = getattr(config, section)
        known = _settings_of(registry[chosen.name])
        for field in dataclasses.fields(chosen):
            if field.name in known:
                default = known[field.name].default
                found[f"{section}.{field.name}"] = None if default in ("", dataclasses.MISSING) else default
    return found


def _settings_of(cls: type) -> dict[str, dataclasses.Field[Any]]:
    """The fields of a kernel or model that are settings, by name."""
    fields = (field for field in dataclasses.fields(cls) if field.init)
    return {field.name: field for field in fields if field.metadata.get("setting", True)}


def _part(section: str, cls: type[T], settings: EStepConfig | NoiseConfig) -> T:
    """An object of the dataclass ``cls`` from the settings of its section that are not None.

    Raises UsageError for a setting that ``cls`` does not have and that differs from its default, and for a
    whole number that is too small. Fields with the metadata ``setting: False`` are not settings.
    """
    known = _settings_of(cls)
    given = {}
    for field in dataclasses.fields(settings):
        key, value = field.name, getattr(settings, field.name)
        if key == "name" or value is None:
            continue
        if key in known:
            given[key] = value
        elif value != field.default:
            raise UsageError(
                f"{settings.name} has no setting {section}.{key}", "it has: " + (", ".join(known) or "none")
            )
    for key, value in given.items():
        least = known[key].metadata.get("least", 1)
        if known[key].type == "int" and value < least:
            raise UsageError(f"{section}.{key} = {value}", f"it is at least {least}")
    return cls(**given)
