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

// maxFile is the size of the largest settings or connector file that is read.
const maxFile = 1 << 20

// layFile lays a YAML file under what the other sources set.
func (f *findings) layFile(data []byte) {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document, second yaml.Node
	err := decoder.Decode(&document)
	if err == nil {
		err = decoder.Decode(&second)
	}
	switch {
	case len(data) > maxFile:
		f.failFile("", fmt.Sprintf("must be at most %d bytes", maxFile), "name the settings file")
	case !utf8.Valid(data):
		f.failFile("", "must be UTF-8", "save it as UTF-8")
	case err == nil:
		f.failFile("", "holds more than one YAML document", "remove the lines ---, or split the file")
	case !errors.Is(err, io.EOF):
		f.failFile(syntaxError(f.fileName, data, err))
	case document.Content != nil: // else it is empty, or comments alone
		root := document.Content[0]
		f.lay("", root)
		f.fileUnread = root.Kind != yaml.MappingNode && !isNull(root)
	}
}

// failFile notes why the file as a whole can't be read.
func (f *findings) failFile(source, problem, fix string) {
	f.fileUnread = true
	f.add(f.fileName, source, problem, fix)
}

var (
	yamlLine      = regexp.MustCompile(`^yaml: line (\d+): `)
	indentedByTab = regexp.MustCompile(`(?m)^ *\t[ \t]*[^ \t\r\n#]`)
)

// syntaxError says where YAML broke. The parser's own words may quote the file
// and so a secret; only its line is taken, and the most frequent mistake is
// looked for here.
func syntaxError(name string, data []byte, err error) (source, problem, fix string) {
	if at := indentedByTab.FindIndex(data); at != nil {
		line := 1 + bytes.Count(data[:at[0]], []byte("\n"))
		return fmt.Sprintf("%s line %d", name, line), "is indented with a tab, which YAML forbids", "indent with spaces"
	}
	if found := yamlLine.FindStringSubmatch(err.Error()); found != nil {
		name += " line " + found[1]
	}
	fix = "look at the line and the one before it: indentation, the colon with a space after it, closed quotes"
	if strings.Contains(err.Error(), "unknown anchor") {
		fix = "put quotes around a value that begins with *"
	}
	return name, "is not YAML", fix
}

// lay lays what a source sets under a path over what was there. The tree that
// comes of it is kept flat: a node for each setting, by path. What is null leaves
// what was there.
func (f *findings) lay(path string, n *yaml.Node) {
	switch {
	case isNull(n):
	case known.isSection(path):
		decoder{findings: f}.members(path, n, known.sections[path], f.lay)
	default:
		f.nodes[path] = n
	}
}

// assignment gives a setting or a section its value as text.
type assignment struct{ path, text, source string }

// layAssignments lays texts: a plain text, where a list or a section must be JSON.
// What is named itself wins over the section that it is in.
func (f *findings) layAssignments(set []assignment) {
	slices.SortStableFunc(set, func(a, b assignment) int {
		return strings.Count(a.path, ".") - strings.Count(b.path, ".")
	})
	for _, a := range set {
		n, fix := textNode(a.text), ""
		if known.isSection(a.path) {
			fix = `write a JSON object, such as {"key":"value"}`
		} else if known.isList(a.path) {
			fix = `write a JSON list, such as ["a","b"]`
		}
		if fix != "" {
			var err error
			if n, err = parseJSON([]byte(a.text)); err != nil {
				f.add(a.path, a.source, "must be JSON", fix)
				continue
			}
		}
		f.lay(a.path, f.mark(n, a.source))
	}
}

// serviceLink matches the variables that Kubernetes puts into each container of
// a namespace for each of its services. One named passcode-worker would make
// them look like settings that don't exist, and keep the worker from starting.
var serviceLink = regexp.MustCompile(`^PASSCODE_([A-Z0-9]+_)*(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9]+)*|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// layEnv lays PASSCODE_ variables, given as os.Environ gives them. Of a name
// given twice the last holds.
func (f *findings) layEnv(environ []string) {
	values := map[string]string{}
	for _, variable := range environ {
		if name, text, _ := strings.Cut(variable, "="); strings.HasPrefix(name, envPrefix) {
			values[name] = text
		}
	}
	var set []assignment
	for _, name := range slices.Sorted(maps.Keys(values)) {
		path := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, envPrefix), "__", "."))
		switch {
		case path != "" && EnvName(path) == name && known.has(path):
			set = append(set, assignment{path, values[name], "environment variable " + name})
		case name == EnvFile || serviceLink.MatchString(name):
		default:
			f.unknown(name, "environment")
		}
	}
	f.layAssignments(set)
}

// layFlags lays path=value flags; of a path given twice the last holds.
func (f *findings) layFlags(flags []string) {
	var set []assignment
	for _, flag := range flags {
		path, text, ok := strings.Cut(flag, "=")
		switch {
		case !ok:
			f.add("--set", "", "must be key=value", "write for instance --set log.level=debug")
		case path != "" && known.has(path):
			set = append(set, assignment{path, text, "--set " + path})
		default:
			f.unknown(path, "--set")
		}
	}
	f.layAssignments(set)
}

func isNull(n *yaml.Node) bool {
	return n.Kind == 0 || n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}

func textNode(text string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
}

var errNotJSON = errors.New("not JSON")

// parseJSON reads one JSON value into the nodes that YAML is read into. YAML's
// own parser is no help: it refuses some of JSON's escapes and takes much that
// is no JSON.
func parseJSON(data []byte) (*yaml.Node, error) {
	// json.Valid bounds the depth, too, but passes over what is not UTF-8.
	if len(data) > maxFile || !utf8.Valid(data) || !json.Valid(data) {
		return nil, errNotJSON
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	return nextJSON(decoder)
}

func nextJSON(decoder *json.Decoder) (*yaml.Node, error) {
	token, err := decoder.Token()
	if err != nil {
		return nil, errNotJSON
	}
	switch value := token.(type) {
	case json.Delim:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		if value == '{' {
			n.Kind = yaml.MappingNode
		}
		for decoder.More() { // the names of an object's members are tokens, too
			child, err := nextJSON(decoder)
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, child)
		}
		_, err := decoder.Token() // the closing bracket
		return n, err
	case string:
		return textNode(value), nil
	case nil:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: "null"}, nil
	default: // a number or a truth value
		return &yaml.Node{Kind: yaml.ScalarNode, Value: fmt.Sprint(value)}, nil
	}
}
