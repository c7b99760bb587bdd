package config

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// EnvFile names the environment variable that holds the settings file's path.
const EnvFile = "PASSCODE_CONFIG"

const envPrefix = "PASSCODE_"

type key struct {
	path     string
	index    []int      // of the field in Config
	standard *yaml.Node // the default; nil for the zero value
}

type schema struct {
	keys     []key               // in the order of the file
	lists    map[string]bool     // false for a setting that is no list
	sections map[string][]string // the names in each section, by its path
}

var known = readSchema()

func readSchema() schema {
	s := schema{lists: map[string]bool{}, sections: map[string][]string{}}
	s.read("", reflect.TypeFor[Config](), nil)
	return s
}

func (s *schema) read(path string, section reflect.Type, index []int) {
	s.sections[path] = memberNames(section)
	for i, name := range s.sections[path] {
		field, at, where := section.Field(i), join(path, name), append(slices.Clone(index), i)
		// A struct that is a value, and no section, has a text of its own.
		if field.Type.Kind() == reflect.Struct && !field.Type.Implements(reflect.TypeFor[encoding.TextMarshaler]()) {
			s.read(at, field.Type, where)
			continue
		}
		var standard yaml.Node
		if err := yaml.Unmarshal([]byte(field.Tag.Get("default")), &standard); err != nil {
			panic(fmt.Sprintf("config: default of %s: %v", at, err)) // a mistake in Config
		}
		k := key{path: at, index: where}
		if standard.Content != nil {
			k.standard = standard.Content[0]
		}
		s.lists[at], s.keys = field.Type.Kind() == reflect.Slice, append(s.keys, k)
	}
}

func (s *schema) isSection(path string) bool { return s.sections[path] != nil }

func (s *schema) isSetting(path string) bool {
	_, ok := s.lists[path]
	return ok
}

func (s *schema) has(path string) bool { return s.isSetting(path) || s.isSection(path) }

func (k key) field(c *Config) reflect.Value { return reflect.ValueOf(c).Elem().FieldByIndex(k.index) }

// memberNames are what the fields are called where they are written. Those that aren't come last.
func memberNames(t reflect.Type) (names []string) {
	for i := range t.NumField() {
		if name, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ","); name != "-" {
			names = append(names, name)
		}
	}
	return names
}

// EnvName returns the environment variable of a path: PASSCODE_NATS__TLS__CA for "nats.tls.ca".
func EnvName(path string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(path, ".", "__"))
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// within reports whether a path is another or leads on from it.
func within(path, above string) bool {
	rest, ok := strings.CutPrefix(path, above)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// nearest returns the setting that a name was probably meant to be, or "".
// Separators and capitals don't count: natsUrl and PASSCODE_NATS_URL find nats.url.
func nearest(name string) (best string) {
	wanted := letters(name)
	least := max(len(wanted)/4, 1) + 1
	for _, k := range known.keys {
		if d := apart(wanted, letters(k.path)); d < least {
			best, least = k.path, d
		}
	}
	return best
}

// letters leaves out what people mistake in a name.
func letters(name string) string {
	return strings.ToLower(strings.NewReplacer(".", "", "_", "", "-", "", "[", "", "]", "").Replace(name))
}

// apart is how many letters remain where what two words begin and end with alike is taken away.
func apart(a, b string) int {
	for a != "" && b != "" && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	for a != "" && b != "" && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	return max(len(a), len(b))
}
