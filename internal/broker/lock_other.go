//go:build !unix

package broker

import "os"

// lockDir makes the directory. Where there is no flock, the listening address
// alone keeps a second server away.
func lockDir(dir string) (unlock func() error, err error) {
	return func() error { return nil }, os.MkdirAll(dir, 0o750)
}
