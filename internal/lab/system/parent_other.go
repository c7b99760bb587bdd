//go:build !linux

package system

import "syscall"

// endWithParent does nothing: only Linux knows how.
func endWithParent(*syscall.SysProcAttr) {}
