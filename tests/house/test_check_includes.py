"""The include check lets the tree's rules through and stops what breaks them."""

from pathlib import Path

import check_includes
import pytest

GOOD = {
    "src/base/status.h": "#pragma once\n#include <string>\n",
    "src/ir/graph.h": '#pragma once\n#include "base/status.h"\n',
    "src/onnx/import.h": '#pragma once\n#include "ir/graph.h"\n',
    "src/onnx/import.cc": '#include "onnx/import.h"\n#include "onnx-ml.pb.h"\n',
    "third_party/onnx/onnx-ml.proto": "",
    "src/engine/sections.h": '#pragma once\n#include "engine.pb.h"\n',
    "src/engine/engine.proto": "",
    "src/runtime/session.h": '#pragma once\n#include "ir/graph.h"\n',
    "src/serve/http/server.h": '#pragma once\n#include "runtime/session.h"\n',
    "src/serve/infer_test.cc": '#include "onnx/import.h"\n#include "ops/op_test.h"\n',
    "src/ops/op_test.h": '#pragma once\n#include "onnx/import.h"\n',
    "src/passes/eliminate_common_subexpressions.cc": '#include "ops/op.h"\n',
    "src/ops/op.h": "#pragma once\n",
    "build-dev/generated/utils.h": '#include "nowhere.h"\n',
}


def check(root: Path, **changes: str) -> tuple[list[str], list[str]]:
    for path, text in (GOOD | changes).items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return check_includes.check(root)


def test_good_tree_has_nothing_to_say(tmp_path: Path) -> None:
    assert check(tmp_path) == ([], [])


@pytest.mark.parametrize(
    ("path", "text", "error"),
    [
        ("src/ir/a.cc", '#include "ops/op_test.h"', "ir may not include ops"),
        ("src/base/a.cc", '#include "ir/graph.h"', "base may not include ir"),
        ("src/serve/a.cc", '#include "onnx/import.h"', "serve may not include onnx"),
        ("src/serve/a.cc", '#  include "onnx-ml.pb.h"', "serve may not include onnx"),
        ("src/serve/a.cc", '#include "onnx-ml.grpc.pb.h"', "serve may not include onnx"),
        ("src/compile/a.cc", '#include "onnx-ml.pb.h"', "only src/onnx may include onnx-ml.pb.h"),
        ("src/runtime/a.cc", '#include "engine.pb.h"', "only src/engine may include engine.pb.h"),
        ("src/ops/a.cc", '#include "ops/op_test.h"', "only tests may include ops/op_test.h"),
        ("src/ir/a.cc", '#include "graph.h"', "not a header of src/"),
        ("src/ir/a.cc", '#include "../base/status.h"', "not a header of src/"),
        ("src/ir/a.cc", '#include "base/../base/status.h"', "not a header of src/"),
        ("src/ir/a_test.cc", '#include "base/gone.h"', "not a header of src/"),
        ("src/serve/endpoints/a.cc", '#include "serve/http/server.h"', "serve/endpoints/ may not"),
        ("src/ir/a.h", "int x;", "no #pragma once"),
        ("src/ops/a.cc", "static const bool kDone = RegisterOp(kRelu);", "static initialiser"),
        ("src/ops/a.cc", "static bool done = [] { return Add(); }();", "static initialiser"),
        ("src/ops/a.cc", "__attribute__((constructor)) void Init() {}", "static initialiser"),
        ("src/surprise/a.cc", "", "has no arrows"),
        ("src/ir/graph_utils.cc", "", "name it for its concept, not 'utils'"),
        ("src/ir/common.test.h", "#pragma once", "name it for its concept, not 'common'"),
        ("tests/helpers/a.py", "", "name it for its concept, not 'helpers'"),
    ],
)
def test_says_what_breaks_a_rule_and_where(
    tmp_path: Path, path: str, text: str, error: str
) -> None:
    errors, warnings = check(tmp_path, **{path: text + "\n"})
    assert len(errors) == 1 and error in errors[0] and errors[0].startswith(path), errors
    assert warnings == []


def test_long_files_are_a_warning(tmp_path: Path) -> None:
    errors, warnings = check(tmp_path, **{"src/ir/graph.cc": "\n" * 601})
    assert errors == []
    assert warnings == ["src/ir/graph.cc: 601 lines: asks to be two files"]


def test_local_lambdas_and_ordinary_calls_are_no_registration(tmp_path: Path) -> None:
    text = "void F() {\n  static const auto ops = [] { return 1; }();\n  Register(ops);\n}\n"
    assert check(tmp_path, **{"src/ops/a.cc": text}) == ([], [])


def test_every_arrow_leads_to_a_known_folder() -> None:
    for folder in check_includes.ARROWS:
        assert check_includes.reachable(folder) <= set(check_includes.ARROWS)
    assert "onnx" not in check_includes.reachable("serve")
    assert "backends" in check_includes.reachable("compile")
