package system

import "syscall"

// endWithParent has the kernel kill a process when its parent ends, even by a kill.
func endWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }
