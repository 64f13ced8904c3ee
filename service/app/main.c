#include <stdio.h>

int main(void)
{
    (void)fputs("unstream: this build has no main program yet\n", stderr);
    return 70;
}
