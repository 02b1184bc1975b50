import pytest
from omegaconf import OmegaConf
from omegaconf.errors import MissingMandatoryValue
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from experiment.core.errors import UserError
from experiment.terminal.cli import explained, one_line_errors
from experiment.terminal.stopping import Stopped


@pytest.fixture(autouse=True)
def _as_started_by_a_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)


def test_a_users_mistake_ends_in_one_line_and_exit_code_one() -> None:
    @one_line_errors
    def main() -> None:
        raise UserError("no such thing")

    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == "error: no such thing"  # text goes to stderr, and the exit code is 1


def test_our_own_mistakes_keep_their_traceback() -> None:
    @one_line_errors
    def main() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        main()


@pytest.mark.parametrize("error", [MisconfigurationException("too few\n batches"), ModuleNotFoundError("too few batches")])
def test_what_lightning_says_of_a_setting_comes_in_one_line(error: Exception) -> None:
    assert explained(error) == "too few batches"


def test_an_import_that_fails_keeps_its_traceback() -> None:
    assert explained(ModuleNotFoundError("No module named 'experimnt'", name="experimnt")) is None


def test_whoever_asks_for_tracebacks_gets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")

    @one_line_errors
    def main() -> None:
        raise UserError("no such thing")

    with pytest.raises(UserError):
        main()


@pytest.mark.parametrize(("interrupt", "code"), [(KeyboardInterrupt(), 130), (Stopped(130), 130), (Stopped(143), 143)])
def test_an_interrupt_says_how_to_go_on(interrupt: BaseException, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    @one_line_errors
    @one_line_errors
    def main() -> None:
        raise interrupt

    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == code
    assert capsys.readouterr().err == "error: interrupted; finished folds are kept. Run the same command to continue.\n"


def test_an_error_that_comes_of_an_interrupt_is_the_interrupt(capsys: pytest.CaptureFixture[str]) -> None:
    @one_line_errors
    def main() -> None:
        try:
            raise Stopped(143)
        finally:
            raise RuntimeError("a loader's worker was killed by the same signal")

    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 143
    assert "interrupted" in capsys.readouterr().err


def test_a_wrong_key_lists_the_keys_that_are_there() -> None:
    config = OmegaConf.create({"lr": 1, "decay": 2})
    OmegaConf.set_struct(config, True)
    with pytest.raises(Exception, match="lrr") as caught:
        _ = config.lrr
    assert explained(caught.value) == "there is no lrr; allowed there: decay, lr. Did you mean 'lr'?"


def test_a_missing_value_says_how_to_give_it() -> None:
    with pytest.raises(MissingMandatoryValue) as caught:
        _ = OmegaConf.create({"data": {"root": "???"}}).data.root
    assert explained(caught.value) == "data.root is not set; give it with data.root=VALUE."


def test_what_is_not_the_users_mistake_is_not_explained() -> None:
    assert explained(ZeroDivisionError()) is None


def test_a_name_in_an_error_forges_no_second_line() -> None:
    @one_line_errors
    def main() -> None:
        raise UserError("no file a\x1b[31m\nerror: fake.png")

    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == r"error: no file a\x1b[31m\nerror: fake.png"
