#!/usr/bin/env bash
# Set up everything that the checks need, and run them: style, types, plugin
# manifest, tests. Needs Python 3.11 or newer with pip. Arguments go to pytest.
#
# PYTHON  the Python to use (default: python3)
# VENV    where its packages go (default: .venv)
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
venv=${VENV:-.venv}

# What napari's window needs on Debian and Ubuntu when there is no screen.
packages=(
    xvfb xauth libegl1 libgl1 libgl1-mesa-dri libopengl0 libglib2.0-0 libdbus-1-3
    libfontconfig1 libxkbcommon-x11-0 libxcb-cursor0 libxcb-icccm4 libxcb-image0
    libxcb-keysyms1 libxcb-randr0 libxcb-render-util0 libxcb-shape0 libxcb-xinerama0
)

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

may_install() {
    command -v apt-get >/dev/null && { [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }
}

missing_packages() {
    command -v dpkg-query >/dev/null || return 0
    local package status
    for package in "${packages[@]}"; do
        # Ubuntu 24.04 and Debian 13 call some libraries NAMEt64.
        status=$(dpkg-query -W -f '${Status}\n' "$package" "${package}t64" 2>/dev/null || true)
        [[ $status == *"ok installed"* ]] || echo "$package"
    done
}

set_up_screen() {
    local missing
    missing=$(missing_packages | xargs)
    if [ -n "$missing" ] && may_install; then
        echo "== installing $missing"
        as_root apt-get update -qq
        # shellcheck disable=SC2086
        as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -qq --no-install-recommends $missing >/dev/null
        missing=$(missing_packages | xargs)
    fi
    if [ -n "$missing" ]; then
        echo "missing system packages: $missing" >&2
        echo "to install them: sudo apt-get install $missing" >&2
    fi
    command -v xvfb-run >/dev/null
}

set_up_python() {
    if [ ! -x "$venv/bin/python" ]; then
        # Without pip: Debian keeps the module that would install it in another package.
        "$python" -m venv --without-pip "$venv"
    fi
    "$python" -m pip --python "$venv" install --quiet --upgrade 'pip>=25.1'
    "$venv/bin/python" -m pip install --quiet --editable '.[all,bench,cluster]' --group dev
}

failed=()
check() {
    echo "== $*"
    "$venv/bin/$@" || failed+=("$1 $2")
}

echo "== setting up (the first time takes some minutes, most of it PyTorch)"
screen=()
tests=()
if set_up_screen; then
    screen=(xvfb-run --auto-servernum --server-args "-screen 0 1280x1024x24")
elif [ -n "${CI:-}" ]; then
    echo "no virtual screen, and CI has to test the widgets" >&2
    exit 1
elif [ -z "${DISPLAY:-}" ]; then
    echo "no screen: the tests of the widgets are left out" >&2
    tests=(--ignore tests/_gui)
fi
set_up_python

check ruff check .
check ruff format --check .
check mypy
check npe2 validate napari-msdip

if [ ${#failed[@]} -gt 0 ]; then
    printf '== failed: %s\n' "${failed[@]}" >&2
fi

# More threads than cores make PyTorch many times slower.
export OMP_NUM_THREADS=2
status=0
"${screen[@]}" "$venv/bin/python" -m pytest "${tests[@]}" "$@" || status=$?
[ ${#failed[@]} = 0 ] || exit 1
exit $status
