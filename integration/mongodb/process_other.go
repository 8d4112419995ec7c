//go:build !unix

package mongodb

import (
	"errors"
	"os"
	"syscall"
)

// serverAttr changes nothing: this system has neither process groups nor a parent-death signal.
func serverAttr() *syscall.SysProcAttr { return nil }

func (p *process) pause() error { return errors.ErrUnsupported }

func (p *process) resume() error { return errors.ErrUnsupported }

// cleaner removes the directory when it is stopped. On this system nothing removes it when the program is killed.
type cleaner struct{ dir string }

func startCleaner(dir string) (*cleaner, error) { return &cleaner{dir: dir}, nil }

func (c *cleaner) stop() error { return os.RemoveAll(c.dir) }
