"""Proofs that take minutes, many gigabytes or root: ``python -m tests.deep [NAME ...]``.

Each is a module of this package with the name it is called by, and one function, ``prove``, that takes a
`Bench` (a directory, and a way to start real daemons there) and returns a `Verdict`: one line with the
figure, and whether the promise holds. Without names, all of them run, one after the other. The exit
status is 1 when one fails.

    memory    P22: 16 uploads of 256 MiB at once, raw, as forms, in tiny chunks: peak above baseline <= 64 MiB
    kill      P3, P26: kill -9 of random workers under 8 uploaders: nothing lost, partial, or refused
    hang      P28: SIGSTOP of one of two workers and of both under load: replaced within 20 s, nothing lost
    blocked_log  P29: stderr that is not read, a FIFO without a reader, a stopped supervisor: all is answered
    stalls    P23: a silent head 10 s, a silent body 30 s, a reader that takes nothing 60 s
    connections  "Limits": connection 4,001 closes one of 4,000 idle ones; it is 503 when all are busy
    slow      P20: every flush takes a second longer, for one client; the others' p99 <= 50 ms
    faults    P5: each call of an upload fails once with EIO, ENOSPC, EMFILE (strace): no wrong success
    power     P1: ext4 on a loop device is cut by its shutdown ioctl under 8 uploaders: nothing lost (root)
    full      P7, P25: full, no inodes, read-only, each with a restart and killed workers: reads go on (root)
    reserve   P7: uploads at once, whose length is unknown, leave the reserve free (root)
    missing_directories  P6: each directory of the images is missing during a start: none lost (faketime)
    proxies   P41: nginx and the daemon agree on where each request ends
    heads     P42: 100,000 random heads are answered from the response cache as without it
    framing   P10: 100,000 random chunked bodies are read as h11 reads them, or refused
    forms     P14: 100,000 random forms, cut at random: the contents that were sent, or 400 or 413
    slow_uploads  P24: 200 slow uploads at once: >= 99 % of another client's uploads succeed
    clock     P29: the clock is set an hour ahead and back: requests go on, deadlines stay (faketime)
    attacks  P24: six attacks on CPU, memory and slots at once: others succeed in 99 %, p99 <= 250 ms
    access    each change of the access file is in force within 2 s in four workers, also for cached answers
    quota     64 uploaders on 4 workers, bucket of 100 MiB, kill -9 of all: never more; exact after a restart
    metrics   16 clients on 4 workers, kill -9 at random: sums are those of the clients, none goes back
    verify    P71: 100 of 100,000 files flipped: found and healed; at 50 MiB/s p99 of GETs rises by < 20 %
    backup    P70: cp, rsync and rclone copy a daemon's data under load; each copy is restored: 0 differences
    packages  P27: the Debian package is upgraded under load: 0 failed; a purge leaves only the data (root)
    container  P27: the image in podman as process 1, read-only: workers killed, stop: no zombie (root)
    client    put beside curl with 4 GiB: >= 0.9 of its throughput; 1,000 files, broken lines, a 0.3.0 server
    listing   P74: a million files by pages, as lines, by ls: worker and ls <= +32 MiB; others' p99 <= 50 ms
    engine-kill    20 times kill -9 of either of two daemons on one bucket: nothing lost, nothing partial
    engine-outage  SeaweedFS is paused, stopped, killed under load: 503, then right again within 5 s
    engine-memory  64 uploads of 256 MiB at once: worker <= +64 MiB; 100 slow readers: <= 2 MiB each
    engine-copy    rclone copies files and images to a bucket and back: the same is served
    engine-race    8 processes race for names, ids and accounts: one winner each, nothing lost
    engine-faults  lost, cut and refused answers of the engine at random: right, recognisably cut, or 503

What a proof needs and does not find (strace, root, loop devices, nginx) is said on its line as
``NOT RUN``, which is neither a pass nor a failure.
"""
