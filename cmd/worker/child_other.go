//go:build !linux

package main

import "syscall"

// endWithParent does nothing: only Linux knows how.
func endWithParent(*syscall.SysProcAttr) {}
