package config

import (
	"errors"
	"io/fs"
	"os"
	"strings"
)

// defaultFile is read where no file is named and it is there.
const defaultFile = "worker.yaml"

// Source is where settings come from.
type Source struct {
	// File is the settings file; it must exist. Empty means the one that
	// PASSCODE_CONFIG names, otherwise worker.yaml where that is present.
	File string
	// Env is the environment as os.Environ gives it. Variables that begin with
	// PASSCODE_ are settings, and one that names none is a problem.
	Env []string
	// Set are settings of the command line, each "path=value".
	Set []string
	// ReadFile reads a file; nil means os.ReadFile. A file that is not there
	// must give an error that is fs.ErrNotExist.
	ReadFile func(name string) ([]byte, error)
	// ToRun asks for what "worker run" needs, too: what is missing of it is a
	// problem. Other commands run where templates and keys are kept from them.
	ToRun bool
}

// Load reads the settings: defaults, then the file, then the environment, then
// the command line. Its error is an [*Errors] that holds every problem of them
// all. Beside an error, the settings that could be read are returned.
func Load(src Source) (Config, error) {
	f := newFindings()
	src.layFile(f)
	f.layEnv(src.Env)
	f.layFlags(src.Set)

	cfg := Default()
	for _, k := range known.keys {
		if n, ok := f.nodes[k.path]; ok {
			decoder{findings: f}.value(k.path, n, k.field(&cfg))
		}
	}
	for _, word := range []*string{&cfg.Aliyun.Protocol, &cfg.Log.Level, &cfg.Log.Format} {
		*word = strings.ToLower(*word) // INFO and HTTPS are how others write them
	}
	if f.fileUnread {
		// Any rule over several values could be broken only for what the file
		// would have set.
		return cfg, f.err()
	}
	c := &check{findings: f, cfg: &cfg, toRun: src.ToRun}
	c.connector(src)
	c.rules()
	c.running()
	cfg.Warnings = c.warnings
	return cfg, f.err()
}

// Validate checks values that a program has changed after [Load].
func (c Config) Validate() error {
	check := &check{findings: newFindings(), cfg: &c}
	check.rules()
	return check.err()
}

// layFile finds the settings file and lays it, where there is one.
func (src Source) layFile(f *findings) {
	name, named := src.File, "--config"
	if name == "" {
		for _, variable := range src.Env { // the last of a name holds
			if value, ok := strings.CutPrefix(variable, EnvFile+"="); ok {
				name, named = value, EnvFile
			}
		}
	}
	fix := "name a settings file that can be read"
	optional := name == ""
	if optional {
		name, named, fix = defaultFile, "", "make it readable, or name another file with --config"
	}
	f.fileName = name
	data, err := src.read(name)
	if err == nil {
		f.layFile(data)
	} else if !optional || !errors.Is(err, fs.ErrNotExist) {
		f.failFile(named, "can't be read: "+reason(err), fix)
	}
}

func (src Source) read(name string) ([]byte, error) {
	if src.ReadFile != nil {
		return src.ReadFile(name)
	}
	return os.ReadFile(name)
}

// reason is what kept a file from being read, without the path, which the
// problem names already.
func reason(err error) string {
	var at *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "there is no such file"
	case errors.As(err, &at):
		return at.Err.Error()
	default:
		return "the file system refused"
	}
}
