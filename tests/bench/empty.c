/* The least a process can cost: started, mapped, ended. */
int main(void) { return 0; }
