package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
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
	// Dir is the folder that relative paths of files are read from; empty means
	// the working directory.
	Dir string
	// ReadFile reads a file; nil means os.ReadFile. A file that is not there
	// must give an error that is fs.ErrNotExist.
	ReadFile func(name string) ([]byte, error)
	// NeedAliyun is set by commands that send: what sending needs must be there.
	NeedAliyun bool
	// Review is set by commands that look the settings over and send nothing:
	// what is there must be whole, what is absent may be.
	Review bool
}

// Load reads the settings: defaults, then the file, then the environment, then
// the command line. Its error is an [*Errors] that holds every problem of them
// all. Beside an error, the settings that could be read are returned.
func Load(src Source) (Config, error) {
	bad := &problems{}
	file, whole := src.file(bad)
	layers := []layer{file, readEnv(src.Env, bad), readSet(src.Set, bad)}

	cfg := Default()
	sources := map[string]string{}
	settings := merge(layers)
	for _, k := range known.keys {
		if s, ok := settings[k.path]; ok {
			sources[k.path] = s.Source
			decoding{source: s.Source, bad: bad}.value(k.path, s.Node, k.field(&cfg))
		}
	}
	for _, word := range []*string{&cfg.Aliyun.Protocol, &cfg.Log.Level, &cfg.Log.Format} {
		*word = strings.ToLower(*word) // INFO and HTTPS are how others write them
	}
	if !whole {
		// What the file would have set is not known, so that any rule over the
		// values could be broken only for that.
		bad.elsewhere = map[string]bool{}
		for path := range sources {
			bad.elsewhere[path] = true
		}
		return cfg, bad.err()
	}
	c := &check{cfg: &cfg, problems: bad, sources: sources}
	c.connector(src)
	c.ranges()
	switch {
	case src.NeedAliyun:
		c.sending()
	case src.Review && len(cfg.Aliyun.Templates) > 0:
		c.generic()
	}
	cfg.Warnings = c.warnings
	return cfg, bad.err()
}

// merge lays the layers one over the other; a later one wins, setting by setting.
func merge(layers []layer) map[string]setting {
	merged := koanf.New(".")
	for _, l := range layers {
		values := make(map[string]any, len(l))
		for path, s := range l {
			values[path] = s
		}
		// A map that is at hand can't fail to be read, nor two of them to merge.
		if err := merged.Load(confmap.Provider(values, "."), nil); err != nil {
			panic("config: " + err.Error())
		}
	}
	settings := map[string]setting{}
	for path, value := range merged.All() {
		if s, ok := value.(setting); ok {
			settings[path] = s
		}
	}
	return settings
}

// file reads the settings file. It reports false where there should be one and
// it can't be read as a whole.
func (s Source) file(bad *problems) (layer, bool) {
	name, named := s.File, "--config"
	if name == "" {
		for _, variable := range lastOfEach(s.Env) {
			if value, ok := strings.CutPrefix(variable, EnvFile+"="); ok {
				name, named = value, EnvFile
			}
		}
	}
	optional := name == ""
	if optional {
		name = defaultFile
	}
	data, err := s.read(name)
	switch {
	case err == nil:
		return readFile(name, data, bad)
	case optional && errors.Is(err, fs.ErrNotExist):
		return layer{}, true
	case optional:
		bad.add(name, "", "can't be read: "+reason(err), "make it readable, or name another file with --config")
	default:
		bad.add(name, named, "can't be read: "+reason(err), "name a settings file that can be read")
	}
	return nil, false
}

func (s Source) read(name string) ([]byte, error) {
	if s.Dir != "" && !filepath.IsAbs(name) {
		name = filepath.Join(s.Dir, name)
	}
	if s.ReadFile != nil {
		return s.ReadFile(name)
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
	case errors.Is(err, fs.ErrPermission):
		return "permission denied"
	case errors.As(err, &at):
		return at.Err.Error()
	default:
		return "the file system refused"
	}
}

// Validate checks the values alone, without what only sending needs: for
// settings that a program has changed after [Load].
func (c Config) Validate() error {
	check := &check{cfg: &c, problems: &problems{}}
	check.ranges()
	return check.err()
}

// RequireAliyun checks that what sending needs is there.
func (c Config) RequireAliyun() error {
	check := &check{cfg: &c, problems: &problems{}}
	check.sending()
	return check.err()
}
