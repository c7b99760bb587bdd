package config

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"strings"
)

// Source is where settings come from.
type Source struct {
	// File is the settings file; it must exist. Empty means the one that
	// PASSCODE_CONFIG names, otherwise worker.yaml where that is present.
	File     string
	Env      []string                          // as os.Environ gives it
	Set      []string                          // of the command line, each "path=value"
	ReadFile func(name string) ([]byte, error) // nil means os.ReadFile
	// ToRun asks for what "worker run" needs, too. Other commands run where templates and keys are kept from them.
	ToRun bool
}

// Load reads the settings: defaults, then the file, then the environment, then the command line. Its error is an
// [*Errors] that holds every problem; beside it, the settings that could be read are returned.
func Load(src Source) (Config, error) {
	if src.ReadFile == nil {
		src.ReadFile = os.ReadFile
	}
	variables := variables(src.Env)
	e := newErrors()
	e.layFile(src, variables[EnvFile])
	e.layEnv(variables)
	e.layFlags(src.Set)

	cfg := Default()
	for _, k := range known.keys {
		if n, ok := e.nodes[k.path]; ok {
			decoder{Errors: e}.value(k.path, n, k.field(&cfg))
		}
	}
	for _, word := range []*string{&cfg.Aliyun.Protocol, &cfg.Log.Level, &cfg.Log.Format} {
		*word = strings.ToLower(*word) // INFO and HTTPS are how others write them
	}
	if !e.fileUnread { // else a rule could be broken only for what the file would have set
		c := &check{Errors: e, cfg: &cfg}
		c.connector(src)
		c.rules()
		if len(e.Problems) > 0 { // warnings may be about values that aren't meant
			cfg.Warnings = nil
		}
		if src.ToRun {
			c.running()
		}
	}
	if len(e.Problems) > 0 {
		return cfg, e
	}
	return cfg, nil
}

// layFile lays the settings file, where there is one. named is the one that the environment names.
func (e *Errors) layFile(src Source, named string) {
	e.fileName = cmp.Or(src.File, named, "worker.yaml")
	optional := src.File == "" && named == ""
	data, err := src.ReadFile(e.fileName)
	if err == nil {
		e.layYAML(data)
	} else if !optional || !errors.Is(err, fs.ErrNotExist) {
		e.failFile("", unreadable(err), "make it readable, or name another file with --config or "+EnvFile)
	}
}

func unreadable(err error) string {
	if errors.Is(err, fs.ErrNotExist) {
		return "can't be read: there is no such file"
	}
	return "can't be read: " + err.Error()
}
