// Entry from a multiboot loader, in 32-bit mode: maps the first 4 GiB onto themselves, switches to 64-bit mode with all the state
// of SSE, AVX, AVX-512 and AMX tiles, and calls start(). Then the entry of system calls: programs run in ring 0, so
// it is an ordinary call.
        .set multiboot_magic, 0x1badb002
        .set multiboot_flags, 3                 // modules on page borders, memory sizes
        .section .multiboot, "a"
        .long   multiboot_magic, multiboot_flags, -(multiboot_magic + multiboot_flags)

        .text
        .code32
        .globl  _start
_start:
        cli
        mov     $stack_end, %esp
        push    $0
        push    %ebx                            // what the loader tells us

        mov     $level4, %edi                   // the page tables, and no page present
        mov     $(6 * 4096 / 4), %ecx
        xor     %eax, %eax
        rep     stosl
        movl    $(level3 + 3), level4
        movl    $(level2 + 3), level3
        movl    $(level2 + 0x1003), level3 + 8
        movl    $(level2 + 0x2003), level3 + 16
        movl    $(level2 + 0x3003), level3 + 24
        mov     $level2, %edi
        mov     $0x83, %eax                     // present, writable, 2 MiB
1:      mov     %eax, (%edi)
        add     $8, %edi
        add     $0x200000, %eax
        cmp     $(level2 + 4 * 4096), %edi
        jne     1b

        mov     %cr4, %eax
        or      $0x40620, %eax                  // PAE, OSFXSR, OSXMMEXCPT, OSXSAVE
        mov     %eax, %cr4
        mov     $level4, %eax
        mov     %eax, %cr3
        mov     $0xc0000080, %ecx               // EFER: LME, SCE
        rdmsr
        or      $0x101, %eax
        wrmsr
        mov     $0x80000033, %eax               // PG, NE, ET, MP, PE; neither EM nor TS
        mov     %eax, %cr0
        lgdt    gdt_pointer
        ljmp    $8, $long_mode

        .code64
long_mode:
        mov     $16, %eax
        mov     %eax, %ds
        mov     %eax, %es
        mov     %eax, %ss
        xor     %ecx, %ecx                      // XCR0: x87, SSE, AVX, the three of AVX-512, the two of AMX
        xor     %edx, %edx
        mov     $0x600e7, %eax
        xsetbv
        mov     $0xc0000081, %ecx               // STAR: the code segment of system calls
        mov     $8, %edx
        xor     %eax, %eax
        wrmsr
        mov     $0xc0000082, %ecx               // LSTAR
        mov     $system_call_entry, %eax
        xor     %edx, %edx
        wrmsr
        pop     %rdi
        call    start
1:      hlt
        jmp     1b

        .globl  run_program                     // run_program(entry, stack)
run_program:
        mov     %rsi, %rsp
        xor     %edx, %edx
        xor     %ebp, %ebp
        jmp     *%rdi

system_call_entry:
        lea     -128(%rsp), %rsp                // the red zone is the program's
        push    %rcx
        push    %r11
        push    %r9
        push    %r8
        push    %r10
        push    %rdx
        push    %rsi
        push    %rdi
        mov     %rax, %rdi
        mov     %rsp, %rsi
        call    system_call
        pop     %rdi
        pop     %rsi
        pop     %rdx
        pop     %r10
        pop     %r8
        pop     %r9
        pop     %r11
        pop     %rcx
        lea     128(%rsp), %rsp
        jmp     *%rcx

        .data
        .balign 8
gdt:    .quad   0, 0x00af9a000000ffff, 0x00cf92000000ffff
gdt_pointer:
        .word   23
        .long   gdt

        .bss
        .balign 4096
level4: .skip   4096
level3: .skip   4096
level2: .skip   4 * 4096
        .skip   65536
stack_end:
        .section .note.GNU-stack, "", @progbits
