"""Programs as people write them, each with the versions that it reads and makes: what `artfs run` must find out by itself.

A script runs in bash with the mount as $M, a directory of its own as $T and an artifact of its own as $OUT. In the registry are
`data/raw` v0 (alias `first`) and v1, which share all files but `version.txt`, `data/other` v0 (alias `stable`), and TOOL
as `data/tools` v0. `expected` of a script that chooses what it reads is told by what it prints.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.contract.uploading import Tree

FILES = 30
_SAME: Tree = {"a.txt": b"same\n", "link": "a.txt", "sub": {f"{i:02}.txt": b"file %d\n" % i for i in range(FILES)}}
RAW: list[Tree] = [{**_SAME, "version.txt": b"v0\n"}, {**_SAME, "version.txt": b"v1\n"}]
OTHER: Tree = {"sub": _SAME["sub"], "b.txt": b"other\n"}
TOOL = "#!/bin/sh\necho tool\n"

V0, V1, OTHER_V0, TOOLS_V0 = "data/raw:v0", "data/raw:v1", "data/other:v0", "data/tools:v0"
OUT = "$OUT:v0"


@dataclass(frozen=True)
class Pipeline:
    """A script and its edges. `cwd` is where `artfs run` is called, below the mount; None is $T."""

    script: str
    used: frozenset[str] = frozenset()
    logged: frozenset[str] = frozenset()
    cwd: str | None = None
    exit_code: int = 0
    prints_used: bool = False


def _pipeline(script: str, *used: str, logged: tuple[str, ...] = (), **more: Any) -> Pipeline:
    return Pipeline(script, frozenset(used), frozenset(logged), **more)


PIPELINES: dict[str, Pipeline] = {
    "cat": _pipeline("cat $M/data/raw/v0/a.txt", V0),
    "cp -r": _pipeline("cp -r $M/data/raw/v1 copy", V1),
    "a redirection": _pipeline("read line < $M/data/raw/v1/a.txt; echo $line", V1),
    "python": _pipeline(
        """python3 -c "
import os
m = os.environ['M']
print(open(f'{m}/data/raw/first/a.txt').read(), open(f'{m}/data/other/v0/b.txt').read())
" """,
        V0,
        OTHER_V0,
    ),
    "python with workers and threads": _pipeline(
        """python3 -c "
import multiprocessing, os, threading
m = os.environ['M']
def read(path):
    return len(open(f'{m}/data/{path}').read())
thread = threading.Thread(target=read, args=('raw/v0/a.txt',))
thread.start(); thread.join()
with multiprocessing.get_context('fork').Pool(2) as pool:
    print(pool.map(read, [f'raw/v1/sub/{i:02}.txt' for i in range(30)]))
" """,
        V0,
        V1,
    ),
    "tar": _pipeline("tar cf - -C $M/data/other/stable . | wc -c", OTHER_V0),
    "find -exec": _pipeline("find $M/data/raw/v1/sub -type f -exec cat {} ';' | wc -l", V1),
    "xargs -P": _pipeline(
        "find $M/data/raw/v0/sub $M/data/other/v0/sub -type f | xargs -P 4 -n 3 cat | wc -l", V0, OTHER_V0
    ),
    "background children": _pipeline(
        "cat $M/data/raw/v0/a.txt & cat $M/data/raw/v1/a.txt & (sleep 0.2; cat $M/data/other/v0/b.txt) & wait",
        *(V0, V1, OTHER_V0),
    ),
    "an orphan": _pipeline(
        """
        waiter='until [ -e go ]; do sleep 0.02; done; cat $M/data/raw/v1/a.txt; touch done'
        bash -c "setsid nohup bash -c '$waiter' >/dev/null 2>&1 &"
        touch go
        until [ -e done ]; do sleep 0.02; done
        """,
        V1,
    ),
    "relative paths from within": _pipeline(
        "cd $M/data/raw/v1/sub; cat ../a.txt ../../first/sub/01.txt 02.txt", V0, V1
    ),
    "called in a version": _pipeline("cat a.txt; pwd", V1, cwd="data/raw/v1"),
    "called in a directory of a version": _pipeline(
        "cat 03.txt ../../../other/v0/b.txt", V0, OTHER_V0, cwd="data/raw/first/sub"
    ),
    "symbolic links": _pipeline(
        "cat $M/data/raw/v1/link; ln -s $M/data/other/stable here; cat here/b.txt", V1, OTHER_V0
    ),
    "mmap": _pipeline(
        """python3 -c "
import mmap, os
with open(os.environ['M'] + '/data/raw/v1/a.txt', 'rb') as file:
    print(bytes(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)))
" """,
        V1,
    ),
    "diff of equal files": _pipeline("diff $M/data/raw/v0/a.txt $M/data/raw/v1/a.txt", V0, V1),
    "cmp of a file with itself": _pipeline("cmp $M/data/raw/first/a.txt $M/data/raw/v0/a.txt", V0),
    "an alias while it moves": _pipeline(
        """
        for v in v0 v1 v1 v0 v1; do
            artfs alias data/raw:$v moving >&2
            for i in 1 2 3; do cat $M/data/raw/moving/version.txt; sleep 0.05; done
        done
        """,
        prints_used=True,
    ),
    "a program in a version": _pipeline("$M/data/tools/v0/run.sh", TOOLS_V0),
    "a redirection before the run": _pipeline(  # the shell that opens the file belongs to the outer run
        """
        artfs run -p lab --json -- wc -l < $M/data/raw/v1/a.txt > said; grep -q '"used": ."data/raw:v1".' said
        """,
        V1,
    ),
    "nested runs": _pipeline(
        "artfs run -q -p lab --name inner -- cat $M/data/raw/v1/a.txt; cat $M/data/raw/v0/a.txt", V0
    ),
    "a commit": _pipeline(
        """
        mkdir -p $M/$OUT; cp -r $M/data/raw/v0 $M/$OUT/.staging/next
        chmod u+w $M/$OUT/.staging/next; echo more > $M/$OUT/.staging/next/more.txt
        mv $M/$OUT/.staging/next $M/$OUT/best
        """,
        *(V0,),
        logged=(OUT,),
    ),
    "hard links into a draft": _pipeline(
        """
        mkdir -p $M/$OUT/.staging/next; cp -al $M/data/raw/v1/. $M/$OUT/.staging/next/
        rm $M/$OUT/.staging/next/version.txt; mv $M/$OUT/.staging/next $M/$OUT/best
        """,
        *(V1,),
        logged=(OUT,),
    ),
    "a draft of a version, read": _pipeline(
        """
        artfs put -q -n $OUT $M/data/other/v0; artfs stage $OUT:v0 next
        cat $M/$OUT/.staging/next/b.txt; echo new > $M/$OUT/.staging/next/new; mv $M/$OUT/.staging/next $M/$OUT/best
        """,
        *(OTHER_V0,),
        logged=(OUT, "$OUT:v1"),
    ),
    "put and get": _pipeline("artfs get -q data/raw:v1 --root got; artfs put -q -n $OUT got", V1, logged=(OUT,)),
    "reading what it made": _pipeline(
        """
        mkdir -p $M/$OUT/.staging/next; cp $M/data/raw/v0/a.txt $M/$OUT/.staging/next/
        mv $M/$OUT/.staging/next $M/$OUT/best; cat $M/$OUT/best/a.txt $M/$OUT/v0/a.txt
        """,
        *(V0,),
        logged=(OUT,),
    ),
    "storing again what it read": _pipeline(
        "mkdir -p $M/data/other/.staging/same; cp -a $M/data/other/stable/. $M/data/other/.staging/same/;"
        " mv $M/data/other/.staging/same $M/data/other/again",
        OTHER_V0,
    ),
    "a mount of its own": _pipeline("artfs mount mine; cat mine/data/raw/v1/a.txt; artfs umount mine", V1),
    "looking only": _pipeline(
        "cd $M/data; ls -lR; find . -size +1; stat raw/v0/a.txt; readlink raw/v0/link; test -s raw/v1/a.txt"
    ),
    "a failure": _pipeline("cat $M/data/raw/v1/a.txt; exit 3", V1, exit_code=3),
    "killed": _pipeline("cat $M/data/raw/v0/a.txt; kill -TERM $$; sleep 10", V0, exit_code=143),
}
