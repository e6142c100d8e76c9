"""The command ``ddp ablate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows import completion, garbage, stopping
from flows.commands import Cluster, Folder, RunFile, Set, Trust, path
from flows.terminal import say


def ablate(
    folder: Folder,
    *,
    layers: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GLOB",
            help="Layers to remove from; may be given more than once.",
            autocompletion=completion.layers,
        ),
    ] = None,
    quantile: Annotated[
        list[float] | None,
        typer.Option(metavar="Q", help="Stored quantile levels; default 0.85, 0.9 and 0.95."),
    ] = None,
    percentage: Annotated[
        list[float] | None,
        typer.Option(metavar="P", help="Percentages p, each with each Q; default 50, 62.5, 75."),
    ] = None,
    images: Annotated[
        int, typer.Option(metavar="N", help="Images of each class to judge on, at most.")
    ] = 200,
    others: Annotated[
        int, typer.Option(metavar="N", help="Images of all other classes beside a class's own.")
    ] = 90,
    draws: Annotated[
        int, typer.Option(metavar="N", help="Controls of each random kind for each set.")
    ] = 1,
    vectors: Annotated[
        bool, typer.Option(help="Remove every single vector too, beside the sets of classes.")
    ] = True,
    seed: Annotated[int, typer.Option(metavar="N", help="Of images and random controls.")] = 0,
    cluster: Cluster = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            parser=path,
            help="Write the removal of every single vector to FILE.csv or FILE.parquet as well.",
        ),
    ] = None,
    overrides: Set = None,
    run_file: RunFile = None,
    trust: Trust = False,
) -> None:
    """Remove singular vectors from a finished run's layers, and see which classes that hurts.

    The vectors that are significant for a class, W̄ - Σ sᵢuᵢvᵢᵀ, are removed on images that chose
    nothing, at every place of a grid of (q, p), beside other vectors of like singular values,
    channels, columns of random rotations and random directions of equal energy. The report is
    written anew with what holds and what does not. Layers that are stored are kept, so the same
    command continues what was stopped. A store may name any code. Only the code of presets is
    run, unless --run names your run file or --trust allows all of it.
    """
    from ddp_tasks.queries import table_files
    from flows import prefect_server

    if out is not None:
        table_files.check_table_file(out)
    with prefect_server.served() as server, garbage.paused():
        from ddp_tasks.prepared_run import opened_once
        from flows.ablation import check, layers_of, run_ablation
        from flows.forms import finished_of
        from schemas.ablation_parameters import AblationParameters
        from schemas.requests import Opening
        from schemas.run_files import check as checked

        asked = {
            **({"quantiles": quantile} if quantile else {}),
            **({"percentages": percentage} if percentage else {}),
        }
        numbers = {"images": images, "others": others, "draws": draws, "seed": seed}
        options = checked(AblationParameters, {**asked, **numbers, "vectors": vectors}, "ablation")
        opening = Opening(run_file=run_file, changes=overrides or [], trust=trust, cluster=cluster)
        finished = finished_of(folder, opening)
        chosen = layers_of(finished, layers or ["*"])
        with opened_once():
            check(finished, options)
            with server.used(), stopping.described_by(_standing):
                page = prefect_server.carry_out(
                    run_ablation, finished.store.parent, options, chosen, opening
                )
    from flows.texts import ablation as texts

    say(texts.lines(folder))
    if out is not None:
        from ddp_tasks.queries.ablation import vectors_table

        table_files.write_table(vectors_table(folder), out)
        say(out)
    say(page)


def _standing() -> str:
    """The end of a sentence: the command that continues."""
    return f"; finished layers are stored. The same command continues: {stopping.this_command()}"
