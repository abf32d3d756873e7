// Package hugepages lets a program's heap lie in huge pages where the kernel
// gives them only to those who ask (transparent_hugepage set to madvise, as many
// distributions have it).
//
// It guarantees that asking never fails a program and takes no memory: what it
// asks for is address space, which the heap grows into. A program that fills
// large tables at random places gains by it: one page fault where there were 512,
// and addresses that the processor finds in its own cache (flowstitch read: 15 %
// of all processor time, docs/performance.md).
package hugepages
