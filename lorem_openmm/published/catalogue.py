"""The published data sets of the paper: one record each.

What is not known is ``None`` and said to be unknown; no address or checksum here is guessed.

References:
    E. Rumiantsev, M. F. Langer, et al., arXiv:2507.19382v2 (2026), appendix "Dataset Construction".
"""

from dataclasses import dataclass
from typing import Literal, get_args

from lorem_openmm.config.data import RegistryName
from lorem_openmm.errors import ConfigError, did_you_mean

Format = Literal["runner", "biodimers", "sn2", "sn2_shifted", "molecules_npz"]


@dataclass(frozen=True, slots=True)
class Source:
    """One file a data set can be made from.

    Attributes:
        folder: folder below that of all downloads, one per published record.
        file: name of the published file.
        page: page of the record, where a person can download it.
        format: how the file, or its member, is read.
        url: direct address of the file; None: not known, the file must be put in place by hand.
        certain: whether the address is the publisher's own or is used by several public programs.
        md5: published checksum; None: recorded at the first download.
        size: published size in words; None: unknown.
        member: file inside the archive; None: the file is no archive.
        member_name: name of the member once unpacked beside the archive; it may also be put there by hand.
    """

    folder: str
    file: str
    page: str
    format: Format
    url: str | None = None
    certain: bool = True
    md5: str | None = None
    size: str | None = None
    member: str | None = None
    member_name: str | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """A published data set.

    Attributes:
        name: its name in configurations and commands.
        title: what it is.
        method: how its energies and forces were computed.
        n_structures: number of structures published or stated; None: unknown.
        licence: licence, and who says so.
        citations: what to cite.
        sources: files it can be made from, the preferred one first.
        notes: what to know before using it.
    """

    name: str
    title: str
    method: str
    n_structures: int | None
    licence: str
    citations: tuple[str, ...]
    sources: tuple[Source, ...]
    notes: str


_KO = (
    "T. W. Ko, J. A. Finkler, S. Goedecker, J. Behler, Nat. Commun. 12, 398 (2021), doi:10.1038/s41467-020-20427-2",
    "Data: Materials Cloud Archive 2020.137, doi:10.24435/materialscloud:f3-yh",
)
_EFA = "J. T. Frank, S. Chmiela, K.-R. Müller, O. T. Unke, arXiv:2412.08541; data: doi:10.5281/zenodo.14750286"
_UNKNOWN_LICENCE = "unknown here: see the record's page before you pass the data on"


def _ko_record(name: str, member: str, title: str) -> Record:
    source = Source(
        folder="materialscloud-bk6kw-4b895",
        file="datasets.tar.gz",
        page="https://archive.materialscloud.org/record/2020.137",
        format="runner",
        url="https://archive.materialscloud.org/records/bk6kw-4b895/files/datasets.tar.gz?download=1",
        md5="0aa11ea305b3af6a47bb3c577c2729bc",
        size="37.9 MiB",
        member=f"datasets/{member}/input.data",
        member_name=f"{member}-input.data",
    )
    return Record(
        name=name,
        title=title,
        method="PBE, FHI-aims",
        n_structures=5000,
        licence="CC BY 4.0 (Materials Cloud)",
        citations=_KO,
        sources=(source,),
        notes="RuNNer input.data in bohr and hartree. The paper divides 90/10 at random (Table 1: validation).",
    )


def _efa_source(member: str, form: Format) -> Source:
    return Source(
        folder="zenodo-17130729",
        file="source_data.zip",
        page="https://doi.org/10.5281/zenodo.14750286",
        format=form,
        url="https://zenodo.org/records/17130729/files/source_data.zip?download=1",
        certain=False,
        member=f"source_data/datasets/{member}",
        member_name=member.rsplit("/", maxsplit=1)[-1],
    )


_RECORDS = (
    _ko_record(
        "mgo_surface",
        "AuMgO",
        "Au2 on an MgO surface, wetting and not, with and without an Al dopant; periodic, 110 atoms",
    ),
    _ko_record("nacl_cluster", "NaCl", "Na9Cl8+ and Na8Cl8+ clusters in vacuum, one Na moved away"),
    Record(
        name="cumulene",
        title="cumulene C9H4 in vacuum, both ends turned",
        method="see the first citation",
        n_structures=None,
        licence=_UNKNOWN_LICENCE,
        citations=("O. T. Unke et al., Chem. Rev. 121, 10142 (2021), doi:10.1021/acs.chemrev.0c01111", _EFA),
        sources=(_efa_source("cumulene/cumulene.npz", "molecules_npz"),),
        notes="Energies and forces are taken as eV and eV/Å, as the authors of the paper did, who drew 4,500 "
        "structures at random.",
    ),
    Record(
        name="biodimers",
        title="dimers of organic side-chain fragments pulled apart to 15 Å; labels AA CA CC CP PA PP",
        method="HSE06, FHI-aims",
        n_structures=29_783,
        licence="CC BY 4.0 (Materials Cloud)",
        citations=(
            "K. K. Huguenin-Dumittan, P. Loche, H. Ni, M. Ceriotti, J. Phys. Chem. Lett. 14, 9612 (2023), "
            "arXiv:2308.13208",
            "Data: Materials Cloud Archive 2023.151, doi:10.24435/materialscloud:23-99",
            "L. A. Burns et al., J. Chem. Phys. 147, 161727 (2017)",
        ),
        sources=(
            Source(
                folder="materialscloud-405an-d8183",
                file="bio_dimers.xyz",
                page="https://archive.materialscloud.org/records/405an-d8183",
                format="biodimers",
                url="https://archive.materialscloud.org/records/405an-d8183/files/bio_dimers.xyz?download=1",
                md5="cdf5f3e139bd56a2c31014c8e50e8b93",
            ),
        ),
        notes="Published in periodic boxes of 30 Å and kept so: the paper trains on them with Ewald sums. "
        "`separation_growth` (distance - distance_initial, Å) is added; test: above 4 Å.",
    ),
    Record(
        name="sn2_reactions",
        title="X- + CH3Y -> CH3X + Y- with X, Y = F, Cl, Br, I, and fragments, in vacuum",
        method="DSD-BLYP-D3(BJ)/def2-TZVP, ORCA 4.0.1",
        n_structures=452_709,
        licence="CC BY 4.0 (as the load-atoms collection states)",
        citations=(
            "O. T. Unke, M. Meuwly, J. Chem. Theory Comput. 15, 3678 (2019), doi:10.1021/acs.jctc.9b00181",
            "Data: Zenodo, doi:10.5281/zenodo.2605341",
            _EFA,
        ),
        sources=(
            Source(
                folder="zenodo-2605341",
                file="sn2_reactions.npz",
                page="https://zenodo.org/records/2605341",
                format="sn2",
                url="https://zenodo.org/records/2605341/files/sn2_reactions.npz?download=1",
                size="119 MB",
            ),
            _efa_source("sn2/sn2_reactions_shifted.npz", "sn2_shifted"),
        ),
        notes="Energies relative to free atoms. The paper used the shifted form; its per-element shifts are added "
        "back here, so that both forms give the same energies. The paper's division adds up to 452,708 structures.",
    ),
)

REGISTRY: dict[str, Record] = {record.name: record for record in _RECORDS}


def record_of(name: str) -> Record:
    """Returns the record of a data set.

    Raises:
        ConfigError: If there is no such record.
    """
    if name not in REGISTRY:
        known = get_args(RegistryName)
        raise ConfigError(
            f"registry: no data set named '{name}'.{did_you_mean(name, known)} Known: {', '.join(known)}. "
            "`lorem-openmm fetch` lists them."
        )
    return REGISTRY[name]
