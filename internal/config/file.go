package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// maxFile is the size of the largest settings or connector file that is read.
const maxFile = 1 << 20

// readFile reads a YAML file's settings. It reports false where the file as a
// whole can't be read, and so nothing is known of what it sets.
func readFile(name string, data []byte, bad *problems) (layer, bool) {
	if len(data) > maxFile {
		bad.add(name, "", fmt.Sprintf("must be at most %d bytes", maxFile), "name the settings file")
		return nil, false
	}
	if !utf8.Valid(data) {
		bad.add(name, "", "must be UTF-8", "save it as UTF-8")
		return nil, false
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document yaml.Node
	if err := decoder.Decode(&document); err != nil {
		if errors.Is(err, io.EOF) { // empty, or comments alone
			return layer{}, true
		}
		noteSyntax(name, data, err, bad)
		return nil, false
	}
	var second yaml.Node
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		if err != nil {
			noteSyntax(name, data, err, bad)
			return nil, false
		}
		bad.add(name, "", "holds more than one YAML document", "remove the lines ---, or split the file")
		return nil, false
	}
	found, root := layer{}, document.Content[0]
	found.section("", root, func(n *yaml.Node) string {
		return fmt.Sprintf("%s line %d", name, n.Line)
	}, bad)
	return found, root.Kind == yaml.MappingNode || isNull(root)
}

var (
	yamlLine      = regexp.MustCompile(`^yaml: line (\d+): `)
	indentedByTab = regexp.MustCompile(`(?m)^ *\t[ \t]*[^ \t\r\n#]`)
)

// noteSyntax says where YAML broke. The parser's own words may quote the file
// and so a secret; only its line is taken, and the most frequent mistake is
// looked for by ourselves.
func noteSyntax(name string, data []byte, err error, bad *problems) {
	if at := indentedByTab.FindIndex(data); at != nil {
		line := 1 + bytes.Count(data[:at[0]], []byte("\n"))
		bad.add(name, fmt.Sprintf("%s line %d", name, line), "is indented with a tab, which YAML forbids", "indent with spaces")
		return
	}
	source := name
	if found := yamlLine.FindStringSubmatch(err.Error()); found != nil {
		source += " line " + found[1]
	}
	mend := "look at the line and the one before it: indentation, the colon with a space after it, closed quotes"
	if strings.Contains(err.Error(), "unknown anchor") {
		mend = "put quotes around a value that begins with *"
	}
	bad.add(name, source, "is not YAML", mend)
}
