package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

var yamlLine = regexp.MustCompile(`^yaml: line (\d+): `)

func (e *Errors) layYAML(data []byte) {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document, second yaml.Node
	err := decoder.Decode(&document)
	if err == nil {
		err = decoder.Decode(&second)
	}
	switch {
	case err == nil:
		e.failFile("", "holds more than one YAML document", "remove the lines ---, or split the file")
	case !errors.Is(err, io.EOF):
		// The parser's own words may quote the file and so a secret; only its line is taken.
		source := ""
		if found := yamlLine.FindStringSubmatch(err.Error()); found != nil {
			source = e.fileName + " line " + found[1]
		}
		e.failFile(source, "is not YAML", "look at the line and the one before it: indentation with spaces and without tabs, "+
			"a colon with a space after it, quotes around special characters, UTF-8")
	case document.Content != nil: // else it is empty, or comments alone
		root := document.Content[0]
		e.lay("", root)
		e.fileUnread = root.Kind != yaml.MappingNode && !isNull(root)
	}
}

// failFile notes why the file as a whole can't be read.
func (e *Errors) failFile(source, problem, fix string) {
	e.fileUnread = true
	e.add(e.fileName, source, problem, fix)
}

// lay lays what a source sets under a path over what was there. The tree that comes of it is kept flat: a node for
// each setting, by path. What is null leaves what was there.
func (e *Errors) lay(path string, n *yaml.Node) {
	switch {
	case isNull(n):
	case known.isSection(path):
		decoder{Errors: e}.members(path, n, known.sections[path], e.lay)
	default:
		e.nodes[path] = n
	}
}

// assignment gives a setting or a section its value as text.
type assignment struct{ path, text, source string }

// layAssignments lays texts: a plain text, where a list or a section must be JSON.
// What is named itself wins over the section that it is in.
func (e *Errors) layAssignments(set []assignment) {
	slices.SortStableFunc(set, func(a, b assignment) int {
		return strings.Count(a.path, ".") - strings.Count(b.path, ".")
	})
	for _, a := range set {
		var value any = a.text
		if known.isSection(a.path) || known.lists[a.path] {
			var err error
			if value, err = parseJSON([]byte(a.text)); err != nil {
				e.add(a.path, a.source, "must be JSON", `write a section as {"key":"value"}, a list as ["a","b"]`)
				continue
			}
		}
		e.lay(a.path, e.node(value, a.source))
	}
}

// serviceLink matches the variables that Kubernetes puts into each container of
// a namespace for each of its services. One named passcode-worker would make
// them look like settings that don't exist, and keep the worker from starting.
var serviceLink = regexp.MustCompile(`^PASSCODE_([A-Z0-9]+_)*(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9]+)*|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// variables returns those of an environment that are ours. Of a name given twice the last holds.
func variables(environ []string) map[string]string {
	values := map[string]string{}
	for _, variable := range environ {
		if name, text, _ := strings.Cut(variable, "="); strings.HasPrefix(name, envPrefix) {
			values[name] = text
		}
	}
	return values
}

func (e *Errors) layEnv(values map[string]string) {
	var set []assignment
	for _, name := range slices.Sorted(maps.Keys(values)) {
		path := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, envPrefix), "__", "."))
		switch {
		case path != "" && EnvName(path) == name && known.has(path):
			set = append(set, assignment{path, values[name], "environment variable " + name})
		case name == EnvFile || serviceLink.MatchString(name):
		default:
			e.unknown(name, "environment")
		}
	}
	e.layAssignments(set)
}

// layFlags lays path=value flags; of a path given twice the last holds.
func (e *Errors) layFlags(flags []string) {
	var set []assignment
	for _, flag := range flags {
		path, text, ok := strings.Cut(flag, "=")
		switch {
		case !ok:
			e.add("--set", "", "must be key=value", "write for instance --set log.level=debug")
		case path != "" && known.has(path):
			set = append(set, assignment{path, text, "--set " + path})
		default:
			e.unknown(path, "--set")
		}
	}
	e.layAssignments(set)
}

func isNull(n *yaml.Node) bool {
	return n.Kind == 0 || n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}

func parseJSON(data []byte) (value any, err error) {
	if !utf8.Valid(data) || !json.Valid(data) {
		return nil, errors.New("not JSON")
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	err = decoder.Decode(&value)
	return value, err
}

// node makes of a JSON value what a YAML file would hold, and notes its source.
func (e *Errors) node(value any, source string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode}
	e.sources[n] = source
	switch value := value.(type) {
	case nil:
		n.Value = "null"
	case string:
		n.Tag, n.Value = "!!str", value
	case []any:
		n.Kind = yaml.SequenceNode
		for _, entry := range value {
			n.Content = append(n.Content, e.node(entry, source))
		}
	case map[string]any:
		n.Kind = yaml.MappingNode
		for _, name := range slices.Sorted(maps.Keys(value)) {
			n.Content = append(n.Content, e.node(name, source), e.node(value[name], source))
		}
	default: // a number or a truth value
		n.Value = fmt.Sprint(value)
	}
	return n
}
