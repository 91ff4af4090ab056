"""A failed training is told in one line, with the place in the user's own code."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from child_cart.model.failure_words import MOST_WORDS, failure_sentence, reason_in
from child_cart.model.weights_file import WeightsError

GRAPH = """Graph execution error:

Detected at node loss/Sparse defined at (most recent call last):
  File "/usr/lib/python3.11/site-packages/keras/src/losses/losses.py", line 2359, in sparse

  File "/home/me/tills.py", line 31, in train_step

Received a label value of 7 which is outside the valid range of [0, 2).  Label values: 7
\t [[{{node loss/Sparse}}]] [Op:__inference_one_epoch_873]"""
KERAS = """in user code:

    File "/usr/lib/python3.11/site-packages/keras/src/layers/input_spec.py", line 239, in assert_input  **
        raise ValueError(

    ValueError: Exception encountered when calling Sequential.call().

    \x1b[1mInput 0 of layer 'dense' is incompatible with the layer\x1b[0m

    Arguments received by Sequential.call():
      • inputs=tf.Tensor(shape=(None, 2), dtype=float32)
      • mask=None"""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (GRAPH, "Received a label value of 7 which is outside the valid range of [0, 2).  Label values: 7"),
        (KERAS, "Input 0 of layer 'dense' is incompatible with the layer"),
        ("Matrix size-incompatible: In[0]: [1,2] [Op:MatMul] name: ", "Matrix size-incompatible: In[0]: [1,2]"),
        ("Unable to write (file write failed: time = Mon, errno = 28, error message = 'x')", "No space left on device"),
        ("'colour'", "'colour'"),
        ("", "no reason was given"),
        ("…\n.", "no reason was given"),
        ("\n\n  \n", "no reason was given"),
    ],
)
def test_the_last_line_that_gives_a_reason_is_told(text: str, reason: str) -> None:
    assert reason_in(text) == reason


@given(
    st.text()
    | st.lists(st.sampled_from([*GRAPH.splitlines(), *KERAS.splitlines(), "errno = 99999999999"])).map("\n".join)
)
def test_any_text_gives_one_short_line(text: str) -> None:
    reason = reason_in(text)
    assert reason.isprintable()
    assert 0 < len(reason) <= MOST_WORDS + 1


def test_the_users_own_file_and_line_are_named(tmp_path: Path) -> None:
    own = tmp_path / "tills.py"
    own.write_text("import json\n\ndef arrays(rows):\n    return json.loads(rows)\n\narrays('{')\n")
    with pytest.raises(ValueError, match="Expecting") as failed:
        runpy.run_path(str(own))
    assert failure_sentence(failed.value) == (
        f"The task failed in {own}, line 4 (JSONDecodeError: Expecting property name enclosed in double quotes: "
        "line 1 column 2 (char 1))."
    )


def test_a_place_in_traced_code_is_named_by_the_text_alone() -> None:
    assert failure_sentence(RuntimeError(GRAPH)).startswith(
        "The task failed in /home/me/tills.py, line 31 (RuntimeError"
    )


def test_an_error_of_the_cart_is_told_as_it_is() -> None:
    assert failure_sentence(WeightsError("The file has changed.")) == "The file has changed."
