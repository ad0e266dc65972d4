"""`fedbus keys`: making, showing, checking and rotating the keys of homomorphic encryption."""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedbus.cli.context import AsJson, broker_of, call
from fedbus.cli.output import display
from fedbus.client import stored_models
from fedbus.client.asyncio_client import Client
from fedbus.client.names import model_name
from fedbus.client.results import PushedModel
from fedbus.wire import codec
from fedbus.wire.blobs import Scheme
from fedbus.wire.version_choice import VersionChoice

if TYPE_CHECKING:
    from fedbus.encryption.key_files import PublicKey, SecretKey

app = typer.Typer(
    help="Make, show, check and rotate the keys that updates are encrypted with.",
    no_args_is_help=True,
)


@app.callback()
def keys() -> None:
    """Make, show, check and rotate the keys that updates are encrypted with."""


def bit_sizes(text: str) -> tuple[int, ...]:
    """Parse sizes with commas between them: `54,55`."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"{text!r}; give whole numbers: 54,55") from None


@app.command()
def generate(
    folder: Annotated[Path, typer.Argument(help="Where the two files are written.")],
    scheme: Annotated[
        Scheme, typer.Option(help="bfv adds whole numbers exactly; ckks floats with an error.")
    ] = "bfv",
    bits: Annotated[
        int, typer.Option(min=4, max=24, help="Bits of a number in the jobs that will use it.")
    ] = 11,
    agents: Annotated[
        int, typer.Option(min=1, max=10_000, help="The most agents in a round of those jobs.")
    ] = 100,
    poly_modulus_degree: Annotated[
        int | None, typer.Option(metavar="N", help="Degree of the polynomials; 4096 by default.")
    ] = None,
    coeff_mod_bit_sizes: Annotated[
        str | None,
        typer.Option(metavar="SIZES", help="Bits of each prime, such as 54,55; else chosen."),
    ] = None,
    scale_bits: Annotated[
        int | None, typer.Option(metavar="BITS", help="ckks: the scale is 2 to this power.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key: secret.key for agents, public.key for the other services.

    Agents with secret.key can read all updates and versions that it encrypts; copy it to them on a
    secure way, with mode 0600. The other services get public.key only. It needs no cluster.

    fedbus keys generate keys
    """
    from fedbus.encryption.key_files import PUBLIC_NAME, SECRET_NAME, generate_key_files
    from fedbus.encryption.parameters import choose_parameters

    parameters = choose_parameters(
        scheme=scheme,
        bits=bits,
        agents=agents,
        poly_modulus_degree=poly_modulus_degree,
        coeff_mod_bit_sizes=bit_sizes(coeff_mod_bit_sizes) if coeff_mod_bit_sizes else None,
        scale_bits=scale_bits,
    )
    made = generate_key_files(folder, parameters)
    secret, public = folder / SECRET_NAME, folder / PUBLIC_NAME
    if as_json:
        display.print_json({**_described(made), "secret": str(secret), "public": str(public)})
        return
    display.show(f"{secret}: a new secret key, only for agents (mode 0600)")
    display.show(f"{public}: its public part, for controller, collector and repository")
    _show(made)
    display.show(
        f"Give each service its file: FEDBUS_ENCRYPTION_KEY={secret.resolve()} to agents, "
        f"{public.resolve()} to the others"
    )


@app.command()
def show(
    file: Annotated[Path, typer.Argument(help="A secret or a public key file.")],
    as_json: AsJson = False,
) -> None:
    """Show what a key file is: its kind, id and parameters.

    fedbus keys show keys/public.key
    """
    from fedbus.encryption.key_files import load_key

    key = load_key(file)
    if as_json:
        display.print_json(_described(key))
    else:
        _show(key)


@app.command()
def check(
    secret: Annotated[Path, typer.Argument(help="The secret key file.")],
    public: Annotated[Path, typer.Argument(help="The public key file.")],
    as_json: AsJson = False,
) -> None:
    """Check that two key files are a pair: add ciphertexts with one, decrypt with the other.

    fedbus keys check keys/secret.key keys/public.key
    """
    from fedbus.encryption.key_check import check_pair
    from fedbus.encryption.key_files import PublicKey, SecretKey

    private = SecretKey.load(secret)
    count = check_pair(private, PublicKey.load(public))
    if as_json:
        display.print_json({**_described(private), "pair": True, "summed": count})
    else:
        display.show(
            f"A pair, key {private.id[:12]}: the sum of {count} ciphertexts was decrypted; its "
            "parameters are as secure as 128 bits"
        )


@app.command()
def rotate(
    ctx: typer.Context,
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="The model's name.", callback=model_name)
    ],
    old_key: Annotated[
        Path, typer.Option("--old-key", metavar="FILE", help="The secret key of its version.")
    ],
    new_key: Annotated[
        Path, typer.Option("--new-key", metavar="FILE", help="The secret key that replaces it.")
    ],
    as_json: AsJson = False,
) -> None:
    """Encrypt the newest version of a model with a new key, and store it as a new version.

    No job may train the model meanwhile. First give the repository the new public key
    (FEDBUS_ENCRYPTION_KEY), afterwards controllers, collectors and agents. Who has the old key can
    still read the versions before, and what was encrypted with it.

    fedbus keys rotate digits --old-key old/secret.key --new-key new/secret.key
    """
    made = call(broker_of(ctx), partial(_rotate, model, old_key, new_key))
    if as_json:
        display.print_json(codec.to_plain(made.ref))
        return
    key = "" if made.ref.encryption is None else made.ref.encryption.key[:12]
    display.show(f"{made.model} is stored as version {made.version}, encrypted with the key {key}")


async def _rotate(model: str, old: Path, new: Path, fed: Client) -> PushedModel:
    ref = (await stored_models.show(fed.connection, VersionChoice(model=model), limit=1)).version
    size = ref.spec.size + 2 * ref.weights.size  # the ciphertexts arrive, and as many leave
    with display.transfer_progress(f"{ref.model} version {ref.version}", size) as moved:
        return await fed.rotate(model, old_key=old, new_key=new, progress=moved)


def _described(key: "SecretKey | PublicKey") -> dict[str, Any]:
    from fedbus.encryption.key_files import SecretKey

    return {
        "kind": "secret" if isinstance(key, SecretKey) else "public",
        "id": key.id,
        "parameters": asdict(key.parameters),
        "most_agents": key.parameters.most_agents,
        "numbers_in_slot": _numbers_in_slot(key),
    }


def _numbers_in_slot(key: "SecretKey | PublicKey") -> dict[str, int]:
    """Return how many numbers of each size a slot holds, for as many agents as the key allows."""
    from fedbus.encryption.parameters import fields_for

    made = key.parameters
    if made.scheme == "ckks":
        return {}
    return {
        str(bits): fields
        for bits in range(4, 25)
        if (fields := fields_for(bits, made.most_agents, made.plain_modulus))
    }


def _show(key: "SecretKey | PublicKey") -> None:
    described, made = _described(key), key.parameters
    display.show(f"kind        {described['kind']}")
    display.show(f"id          {key.id}")
    display.show(f"scheme      {made.scheme}")
    display.show(
        f"parameters  poly_modulus_degree {made.poly_modulus_degree}, coeff_mod_bit_sizes "
        f"{list(made.coeff_mod_bit_sizes)}"
        + (f", scale_bits {made.scale_bits}" if made.scale_bits else "")
    )
    display.show(f"agents      at most {made.most_agents} in a round")
    if found := described["numbers_in_slot"]:
        by_fields = {fields: int(bits) for bits, fields in found.items()}
        said = ", ".join(f"{fields} of {bits} bits" for fields, bits in sorted(by_fields.items()))
        display.show(f"a slot      holds {said}")
