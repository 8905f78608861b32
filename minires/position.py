"""How far a run of ``train`` has come, as every checkpoint holds it, and the lines of the log that come of it."""

from dataclasses import dataclass, field

from minires.checks import real, some, whole


@dataclass
class Position:
    """How far a run has come, and the sums since its latest train line."""

    step: int = 0
    images: int = 0
    batch: int = 0  # of the current epoch
    seconds: float = 0.0  # in training steps, with their data and without tests
    test_error: float | None = None
    sums: dict = field(default_factory=lambda: {"loss": 0.0, "wrong": 0, "images": 0, "seconds": 0.0})
    logged: bool = False  # whether the sums are in the log, so that the next step begins new ones

    @classmethod
    def check(cls, saved):
        """Raise ValueError unless ``cls(**saved)`` would be one."""
        if saved.keys() != vars(cls()).keys() or not isinstance(saved["sums"], dict):
            raise ValueError(f"it was not saved by train: it holds {some(saved)}")
        for name in ("step", "images", "batch"):
            whole("its progress", name, saved[name])
        if saved["sums"].keys() != cls().sums.keys() or not isinstance(saved["logged"], bool):
            raise ValueError("the sums of its progress are damaged")
        error = 0.0 if saved["test_error"] is None else saved["test_error"]
        for name, value in {**saved["sums"], "seconds": saved["seconds"], "test_error": error}.items():
            real("its progress", name, value, least=0)

    def count(self, step, seconds):
        images, loss, wrong = len(step.target), step.loss, step.wrong
        self.step, self.batch, self.images = step.number, self.batch + 1, self.images + images
        self.seconds += seconds
        if self.logged:
            self.sums, self.logged = Position().sums, False
        for name, more in {"loss": loss * images, "wrong": wrong, "images": images, "seconds": seconds}.items():
            self.sums[name] += more

    def train_line(self, epoch_images, lr):
        self.logged, sums = True, self.sums
        return self._line("train", epoch_images, sums["loss"] / sums["images"], sums["wrong"] / sums["images"]) | {
            "images": sums["images"],
            "lr": lr,
            "images_per_second": round(sums["images"] / sums["seconds"], 1),
            "seconds": round(self.seconds, 2),
        }

    def test_line(self, epoch_images, loss):
        return self._line("test", epoch_images, loss, self.test_error)

    def _line(self, kind, epoch_images, loss, error):
        epoch = round(self.images / epoch_images, 4)
        return {"kind": kind, "step": self.step, "epoch": epoch, "loss": loss, "error": error}

    def words(self, epoch_images):
        sums = self.sums
        words = f"error {sums['wrong'] / sums['images']:.1%}"
        words += f", test {self.test_error:.1%}" if self.test_error is not None else ""
        words += f", loss {sums['loss'] / sums['images']:.3f}, {sums['images'] / sums['seconds']:.0f} images/s"
        return words + f", epoch {self.images / epoch_images:.1f}"
