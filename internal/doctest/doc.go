// Package doctest tests the documentation: a fenced block marked "sh run" in a
// Markdown file is run as it stands, every other mention of a flowstitch command
// must name a command and flags that exist, and every link to a file must lead
// to one. So a page can not tell what is no longer true of the program. The
// questions of the pages are also asked of running pipelines, and each answer
// is held to the same question over files.
package doctest
