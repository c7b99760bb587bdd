package system

import "syscall"

// endWithParent has the kernel kill a process when its parent is gone, also where
// that was killed and could stop nobody.
func endWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }
