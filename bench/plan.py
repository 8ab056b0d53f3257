"""How much is measured: the whole of it, a short version, and one for tests that only shows that all works."""

from typing import NamedTuple

Size = tuple[int, int]  # (height, width)


class Plan(NamedTuple):
    """What an item gets to know."""

    name: str
    frames: int  # of each thing that is compared, all rounds together
    rounds: int  # in which the things that are compared take turns
    cameras: tuple[Size, ...]  # image sizes of the camera
    rates: tuple[float, ...]  # camera's, Hz; "max" is measured besides
    networks: tuple[Size, ...]  # sizes at which the network itself is measured, beside its own
    outputs: tuple[tuple[str, ...], ...]  # which topics are listened to
    many: tuple[int, ...]  # numbers of cameras
    classes: tuple[int, ...]  # numbers of classes
    sizes: tuple[Size, ...]  # image sizes of the scaling
    images: int  # of Cityscapes' size, to be scored and loaded
    seconds: float  # of the recorded drive that is replayed
    steps: int  # of training
    probe: int  # frames of one step of the search for the peak rate
    longest: float  # seconds of sending frames, a round: a very slow node gets fewer
    model: str = "rdsnet_camvid"

    @property
    def compared(self) -> tuple[Size, ...]:
        """Image sizes at which two nodes are compared: the slower one takes most of the time."""
        return self.cameras if self.name == "full" else self.cameras[:1]

    def share(self) -> int:
        """Return how many frames a round has."""
        return max(1, -(-self.frames // self.rounds))

    def at(self, rate: float, frames: int | None = None) -> int:
        """Return how many frames to send at ``rate`` Hz in a round: its share, or fewer where that takes too long."""
        return max(3, min(frames or self.share(), int(rate * self.longest)))


VGA, WIDE, HD, UHD = (360, 480), (512, 1024), (1080, 1920), (2160, 3840)
LABEL, BOTH = ("label",), ("label", "overlay")

FULL = Plan(
    name="full",
    frames=240,
    rounds=6,
    cameras=(VGA, WIDE, HD),
    rates=(10.0, 30.0),
    networks=(WIDE, HD),
    outputs=(LABEL, BOTH),
    many=(1, 2, 4, 8),
    classes=(2, 11, 19, 40, 150),
    sizes=((240, 320), VGA, (480, 640), WIDE, (720, 1280), HD, UHD),
    images=20,
    seconds=40.0,
    steps=100,
    probe=120,
    longest=60.0,
)
QUICK = FULL._replace(
    name="quick",
    frames=30,
    rounds=2,
    cameras=(VGA, HD),
    rates=(30.0,),
    networks=(),
    outputs=(BOTH,),
    many=(4,),
    classes=(40,),
    sizes=(HD,),
    images=2,
    seconds=2.0,
    steps=2,
    probe=20,
    longest=4.0,
)
TINY = QUICK._replace(
    name="tiny",
    frames=3,
    rounds=1,
    cameras=((48, 64),),
    rates=(20.0,),
    many=(2,),
    classes=(2,),
    sizes=((48, 64),),
    images=1,
    seconds=0.5,
    steps=2,
    probe=6,
)
PLANS = {plan.name: plan for plan in (FULL, QUICK, TINY)}
