"""Workers open side by side, and the SDK's modules import each other in circles."""

from __future__ import annotations

import subprocess
import sys

BOTH_ENDS = """
import sys, threading, time
from importlib.abc import MetaPathFinder
from etlcore_sls.source import SlsSource
from etlcore_sls.sink import SlsSink

inside, failures = threading.Event(), []

class Holding(MetaPathFinder):
    '''Holds the first thread up in the middle of `import aliyun.log`, until the second one is about to wait for it.'''
    def find_spec(self, name, path, target=None):
        if name == "aliyun.log.logexception" and not inside.is_set():
            inside.set()
            waiting = lambda: "wait" in (f.f_code.co_name for f in frames(second)) or any(
                f.f_code.co_name in ("acquire", "load_sdk") for f in frames(second))
            while second.is_alive() and not waiting():
                time.sleep(0.001)
        return None

def frames(thread):
    frame = sys._current_frames().get(thread.ident)
    while frame is not None:
        yield frame
        frame = frame.f_back

def opening(component):
    try:
        component().open(None)
    except AttributeError:
        pass  # there is no config: the imports are behind us
    except BaseException as error:
        failures.append(repr(error))

def begin_later():
    inside.wait()
    opening(SlsSink)

sys.meta_path.insert(0, Holding())
first = threading.Thread(target=opening, args=(SlsSource,))
second = threading.Thread(target=begin_later)
second.start(); first.start(); first.join(); second.join()
print(inside.is_set(), failures)
"""


def test_a_source_and_a_sink_may_open_at_the_same_moment() -> None:
    done = subprocess.run([sys.executable, "-c", BOTH_ENDS], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "True []\n", done.stderr
