#include "tools/synthetic.h"
