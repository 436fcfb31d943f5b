"""Runs a program for which io_uring_setup fails with EPERM, as container runtimes' seccomp profiles make it fail.

usage: without_io_uring.py PROGRAM [ARGUMENT]...
"""

import ctypes
import errno
import os
import struct
import sys

IO_URING_SETUP = 425  # the same number on every architecture
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
SECCOMP_RET_ERRNO, SECCOMP_RET_ALLOW = 0x00050000, 0x7FFF0000
BPF_LD_W_ABS, BPF_JMP_JEQ_K, BPF_RET_K = 0x20, 0x15, 0x06


class Filter(ctypes.Structure):
    """struct sock_fprog"""

    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def instruction(code, jump_true, jump_false, value):
    """struct sock_filter"""
    return struct.pack("=HBBI", code, jump_true, jump_false, value)


program = b"".join(
    [
        instruction(BPF_LD_W_ABS, 0, 0, 0),  # the number of the system call
        instruction(BPF_JMP_JEQ_K, 0, 1, IO_URING_SETUP),
        instruction(BPF_RET_K, 0, 0, SECCOMP_RET_ERRNO | errno.EPERM),
        instruction(BPF_RET_K, 0, 0, SECCOMP_RET_ALLOW),
    ]
)
libc = ctypes.CDLL(None, use_errno=True)
rules = Filter(len(program) // 8, program)
for call in ((PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(rules), 0, 0)):
    if libc.prctl(*call) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
os.execv(sys.argv[1], sys.argv[1:])
