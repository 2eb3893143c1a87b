"""The protocol of a long-range block."""

import torch


class LongRangeBlock(torch.nn.Module):
    """q_i = charges(x_i, x_i^lm, Z_i), V_i = ½ Σ_j q_j k(r_ij), E_i = receive(x_i, x_i^lm, q_i, V_i, Z_i).

    Both methods see each atom by itself; the model sums the pairs in between, with the kernel k. They are written in
    plain differentiable operations: training differentiates them twice, and dynamics runs them in TorchScript with a
    bridge to autograd, unless :mod:`lorem_openmm.inference.blocks` knows a form with gradients by hand.

    Args:
        num_channels: number of charges per atom.
        channel_order: [num_channels] the order in which the charges are reported; None: as they are.
        num_scalar_channels: how many charges, the first ones, do not turn with the structure; None: all.

    Attributes:
        explicit_charge: whether the first charge, also as reported, is one in e, of which dipoles are made.
        num_net_channels: how many charges, the first ones, are in e and add up to the total charge. Received are then
            [V of these ; L V of these ; V of the latent ones], L V = Σ_j w_ij (V_i − V_j); with ``neutral`` in the
            configuration [V of these ; L V of all] (:mod:`lorem_openmm.sums.transfer`).
        is_equilibrated: whether the first of the charges made is an electronegativity in V, and acts as the charge
            that belongs to it (:mod:`lorem_openmm.sums.equilibration`); :meth:`elements` says the rest.
    """

    needs_total_charge = False  # whether it uses the total charge of each structure, which then must be stated
    explicit_charge = False
    is_equilibrated = False

    channel_order: torch.Tensor

    def __init__(
        self, num_channels: int, channel_order: torch.Tensor | None = None, num_scalar_channels: int | None = None
    ):
        super().__init__()
        self.num_channels = num_channels
        self.num_scalar_channels = num_channels if num_scalar_channels is None else num_scalar_channels
        self.num_net_channels = 0
        order = torch.arange(num_channels) if channel_order is None else channel_order
        self.register_buffer("channel_order", order, persistent=False)

    def add_net_channels(self, count: int) -> None:
        """Puts charges in e before those that are there.

        Args:
            count: how many.
        """
        self.num_net_channels += count
        self.num_channels += count
        self.num_scalar_channels += count
        self.channel_order = torch.cat([torch.arange(count), self.channel_order + count])

    def elements(self, atomic_numbers: torch.Tensor) -> torch.Tensor:
        """Returns hardness in eV/e² and width in Å [n_atoms, 2]; asked for if charges are at equilibrium.

        Args:
            atomic_numbers: Z [n_atoms] integers.
        """
        raise NotImplementedError

    def charges(self, x: torch.Tensor, spherical: torch.Tensor, atomic_numbers: torch.Tensor) -> torch.Tensor:
        """Returns q [n_atoms, num_channels].

        Args:
            x: scalar features [n_atoms, d].
            spherical: spherical features [n_atoms, s, (L+1)²], components in the model's order.
            atomic_numbers: Z [n_atoms] integers.
        """
        raise NotImplementedError

    def messages(self, spherical: torch.Tensor, potentials: torch.Tensor) -> torch.Tensor:
        """Returns what Born effective charges are read from, [n_atoms, s, (L+1)²]; by default the features as they are.

        Args:
            spherical: spherical features [n_atoms, s, (L+1)²].
            potentials: V [n_atoms, num_channels].
        """
        return spherical

    def receive(
        self,
        x: torch.Tensor,
        spherical: torch.Tensor,
        charges: torch.Tensor,
        potentials: torch.Tensor,
        atomic_numbers: torch.Tensor,
    ) -> torch.Tensor:
        """Returns the long-range atomic energies [n_atoms] eV.

        Args:
            x: scalar features [n_atoms, d].
            spherical: spherical features [n_atoms, s, (L+1)²].
            charges: q [n_atoms, num_channels], from :meth:`charges`.
            potentials: V [n_atoms, num_channels].
            atomic_numbers: Z [n_atoms] integers.
        """
        raise NotImplementedError
