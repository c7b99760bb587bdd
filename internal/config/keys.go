package config

import (
	"encoding"
	"reflect"
	"strings"
)

// EnvFile names the environment variable that holds the settings file's path.
const EnvFile = "PASSCODE_CONFIG"

const envPrefix = "PASSCODE_"

// key is one setting.
type key struct {
	path    string
	letters string // of the path, for nearest
	index   []int  // of the field in Config
}

// schema is what can be set: the settings in the order of the file, and the
// sections that hold them.
type schema struct {
	keys     []key
	leaves   map[string]bool
	sections map[string]bool
	env      map[string]string // path of a setting or section, by its variable
}

var known = readSchema()

func readSchema() schema {
	s := schema{leaves: map[string]bool{}, sections: map[string]bool{}, env: map[string]string{}}
	s.read("", reflect.TypeFor[Config](), nil)
	return s
}

func (s *schema) read(path string, section reflect.Type, index []int) {
	for i := range section.NumField() {
		field := section.Field(i)
		name := field.Tag.Get("yaml")
		if name == "-" {
			continue
		}
		at := join(path, name)
		where := append(append([]int{}, index...), i)
		s.env[EnvName(at)] = at
		if isSection(field.Type) {
			s.sections[at] = true
			s.read(at, field.Type, where)
			continue
		}
		s.leaves[at] = true
		s.keys = append(s.keys, key{path: at, letters: letters(at), index: where})
	}
}

// isSection tells a struct of further settings from one that is a value.
func isSection(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && !t.Implements(reflect.TypeFor[encoding.TextMarshaler]())
}

// field returns a pointer to the setting's field.
func (k key) field(c *Config) any {
	return reflect.ValueOf(c).Elem().FieldByIndex(k.index).Addr().Interface()
}

// Keys returns the path of every setting, such as "nats.tls.ca", in the order of
// the file.
func Keys() []string {
	paths := make([]string, len(known.keys))
	for i, k := range known.keys {
		paths[i] = k.path
	}
	return paths
}

// EnvName returns the environment variable of a path: PASSCODE_NATS__TLS__CA for
// "nats.tls.ca".
func EnvName(path string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(path, ".", "__"))
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// nearest returns the setting that a name was probably meant to be, or "".
// Separators and capitals don't count, so that natsUrl and PASSCODE_NATS_URL
// find nats.url; nor does a section that is missing or wrong, where the name
// itself is that of one setting.
func nearest(name string) string {
	const longest = 100 // the distance takes time by the square
	if len(name) > longest {
		return ""
	}
	wanted := letters(name)
	best, least := "", max(len(wanted)/4, 1)+1
	for _, k := range known.keys {
		if d := distance(wanted, k.letters); d < least {
			best, least = k.path, d
		}
	}
	if best != "" {
		return best
	}
	last := name[strings.LastIndex(name, ".")+1:]
	for _, k := range known.keys {
		if strings.HasSuffix(k.path, "."+last) {
			if best != "" {
				return "" // several have that name
			}
			best = k.path
		}
	}
	return best
}

// letters leaves out what people mistake in a name.
func letters(name string) string {
	return strings.ToLower(strings.Map(func(r rune) rune {
		if strings.ContainsRune("._-", r) {
			return -1
		}
		return r
	}, name))
}

// distance is Levenshtein's: how many letters must be put in, left out or
// replaced to turn one text into the other.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
